"""`dibs.js` and the modules it is made of by themselves, in the browser, against a WebSocket that the test plays."""

import pathlib

from harness import test

HERE = pathlib.Path(__file__).parent
CHECKS = "".join((HERE / name).read_text()
                 for name in ("library_played.js", "library_seat_checks.js", "library_checks.js"))
NAMES = ["outcomesInOrder", "outcomesOvertaking", "outcomesNotRecovered", "holeSkipped", "closeCodes",
         "resumesAfterALostConnection", "tellsTheTruthWithoutOffsets", "repeatsAnUndecidedClaim",
         "keepsTheKeyOverAReload",
         "answersByIdEvenWhenAlreadyTold", "badTokenEndsIt",
         "goneAwayComesBack", "watchesAgain", "missingOutcomeIsAskedFor", "deadConnectionIsLeft", "closingIsNotANo",
         "placesInOrder", "placesLost", "placesOvertaking", "joinsAndClaimsWithThePass", "joinsAgainOnceCaughtUp",
         "noPlaceAgainForWhoBought", "keepsThePlaceOverAReload", "passComesByReplay", "aJoinIsRefusedOrAskedAgain",
         "leavesAndComesBack", "leavingIsNotForgotten", "aPassThatIsRefusedIsGone", "aPagePutAsideHoldsNoPlace",
         "seatsByChanges", "watchesSeatsAgain", "holdsAndAsksAgain", "aHoldIsRefused", "aPaymentSpendsThePass"]


def library_test(name):
    def check(world):
        browser = world.shared_browser()
        browser.open()
        browser.driver.set_script_timeout(20)
        said = browser.driver.execute_async_script(CHECKS, name)
        assert said == "ok", said
    check.__name__ = f"test_library_{name}"
    return test(check)


for each in NAMES:
    library_test(each)
