"""What a buyer does: signing up, claiming, reloading, losing the connection, giving back."""

from selenium.webdriver.common.keys import Keys

import server
from harness import PASSWORD, test

# Keeps every status the outcome ever had, also those that were shown for a moment only.
RECORD_STATUSES = """
window.statuses = [];
const outcome = document.querySelector("#outcome");
new MutationObserver((changes) => {
  for (const { oldValue } of changes) window.statuses.push(oldValue);
}).observe(outcome, { attributeFilter: ["data-status"], attributeOldValue: true });
"""


@test
def test_sign_up_claim_and_reload(world):
    sale = server.register_sale("Opening night", 5)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.says("#sale-name", "Opening night")
    buyer.says("#remaining", "5")
    buyer.click("#claim")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.evaluate(RECORD_STATUSES)
    buyer.click("#claim")
    buyer.outcome_is("confirmed")
    seen = buyer.evaluate("return window.statuses")
    assert "accepted" in seen, f"never shown as accepted: {seen}"
    known = server.truth(sale, buyer.user_id())
    assert known["status"] == "confirmed"
    assert str(known["ticket"]) in buyer.text(".outcome__headline")
    headline = buyer.text(".outcome__headline")
    buyer.says("#remaining", "4")
    buyer.picture("sale-confirmed")

    buyer.reload()
    buyer.outcome_is("confirmed")
    assert buyer.text(".outcome__headline") == headline
    assert not buyer.shown("#claim")


@test
def test_the_same_outcome_on_another_device(world):
    sale = server.register_sale("Two devices", 5)
    first, second = world.browser(), world.browser(width=400, height=800)
    first.open(f"#/sale/{sale['id']}")
    name = first.sign_up()
    second.open(f"#/sale/{sale['id']}")
    second.click("#sign-in")
    second.find("dialog .segments label:last-child").click()
    second.type("dialog [name=name]", name)
    second.type("dialog [name=password]", "a wrong one")
    second.click("dialog [type=submit]")
    second.says("dialog .form__problem", "don’t go together")
    second.type("dialog [name=password]", PASSWORD)
    second.click("dialog [type=submit]")
    second.gone("dialog")
    second.says("#claim", "Dibs!")
    second.says(".connection", "Live")
    first.click("#claim")
    first.outcome_is("confirmed")
    second.outcome_is("confirmed")
    assert first.text(".outcome__headline") == second.text(".outcome__headline")


@test
def test_a_taken_name_is_said_beside_the_name(world):
    first, second = world.browser(), world.browser()
    first.open()
    name = first.sign_up()
    second.open()
    second.click("#sign-in")
    second.type("dialog [name=name]", name)
    second.type("dialog [name=password]", PASSWORD)
    second.click("dialog [type=submit]")
    second.says("dialog .field__problem", "Somebody else has this name")
    assert second.attribute("dialog [name=name]", "aria-invalid") == "true"


@test
def test_sold_out_is_shown_live_and_a_returned_ticket_reopens(world):
    sale = server.register_sale("The only one", 1)
    winner, watcher, passer_by = world.browser(), world.browser(), world.browser()
    for browser in (winner, watcher):
        browser.open(f"#/sale/{sale['id']}")
        browser.sign_up()
        browser.says("#claim", "Dibs!")
        browser.says(".connection", "Live")
    passer_by.open(f"#/sale/{sale['id']}")
    passer_by.has(".ticket .status", "data-status", "open")

    winner.click("#claim")
    winner.outcome_is("confirmed")
    watcher.has(".ticket .status", "data-status", "sold_out")
    watcher.says("#remaining", "0")
    watcher.says("#claim", "Sold out")
    assert watcher.attribute("#claim", "aria-disabled") == "true"
    passer_by.has(".ticket .status", "data-status", "sold_out")

    winner.click(".order .secondary")
    winner.click("dialog .primary")
    winner.outcome_is("cancelled")
    watcher.says("#claim", "Dibs!")
    watcher.click("#claim")
    watcher.outcome_is("confirmed")
    assert server.truth(sale, winner.user_id())["status"] == "cancelled"


@test
def test_countdown_and_opening_without_a_reload(world):
    sale = server.register_sale("Soon", 3, opens_in=6)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Opens at")
    buyer.says("[role=timer]", "00:0")
    buyer.says("#claim", "Dibs!")
    assert server.call("GET", f"api/sales/{sale['id']}")["status"] == "open"
    buyer.click("#claim")
    buyer.outcome_is("confirmed")


@test
def test_a_claim_turned_down_says_so(world):
    sale = server.register_sale("Unlucky", 3, rejectPercent=100)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.click("#claim")
    buyer.outcome_is("rejected")
    buyer.says(".outcome__headline", "turned down")
    buyer.says("#remaining", "3")
    buyer.says("#claim", "once more")


@test
def test_price_and_points(world):
    sale = server.register_sale("Matinée", 3, price=500)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says(".facts", "500 points")
    buyer.says(".stub__points", "You have 0 points")
    buyer.says("#claim", "Dibs!")
    buyer.click("#claim")
    buyer.says(".outcome__headline", "failed")
    buyer.says(".outcome__detail", "enough points")
    buyer.reload()
    buyer.outcome_is("failed")
    buyer.says(".outcome__detail", "enough points")
    buyer.says("#remaining", "3")
    server.call("PATCH", "api/users/point", {"userId": buyer.user_id(), "point": 800})
    buyer.reload()
    buyer.says(".stub__points", "You have 800 points")
    buyer.click("#claim")
    buyer.outcome_is("confirmed")
    buyer.says(".stub__points", "You have 300 points")


@test
def test_two_for_one_person(world):
    sale = server.register_sale("A pair each", 5, perClientLimit=2)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.click("#claim")
    buyer.until(lambda: len(buyer.shown(".order[data-status=confirmed]")) == 1, "the first to be confirmed")
    buyer.click("#claim")
    buyer.until(lambda: len(buyer.shown(".order[data-status=confirmed]")) == 2, "the second to be confirmed")
    buyer.gone("#claim")
    buyer.reload()
    buyer.until(lambda: len(buyer.shown(".order[data-status=confirmed]")) == 2, "both after a reload")


@test
def test_keyboard_alone(world):
    sale = server.register_sale("By keyboard", 5)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.find("#claim")
    buyer.tab_to(".skip")
    buyer.tab_to("#claim")
    buyer.press(Keys.ENTER)
    buyer.find("dialog")
    buyer.tab_to("dialog [name=name]")
    buyer.press(server.unique("buyer"), Keys.TAB, PASSWORD, Keys.ENTER)
    buyer.gone("dialog")
    buyer.says("#claim", "Dibs!")
    buyer.until(lambda: buyer.evaluate("return document.activeElement.id") == "claim", "focus to be back on the button")
    buyer.press(Keys.ENTER)
    buyer.outcome_is("confirmed")
    buyer.until(lambda: buyer.evaluate("return document.activeElement.id") == "outcome", "focus to be on the outcome")
    assert buyer.attribute("#outcome", "role") == "status"


@test
def test_a_lost_connection_repeats_the_claim_with_its_key(world):
    sale = server.register_sale("Cut off", 5)
    buyer = world.browser()
    buyer.before_page_scripts("""
        window.claims = [];
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) {
          send.call(this, text);
          const frame = JSON.parse(text);
          if (frame.type !== "claim") return;
          window.claims.push(frame);
          if (window.claims.length > 1) return;
          // The claim is on its way; its answer never arrives here.
          const lost = this.onclose;
          this.onmessage = this.onclose = null;
          this.close();
          lost.call(this, { code: 1006, reason: "cut by the test" });
        };
    """)
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.says(".connection", "Live")
    buyer.click("#claim")
    buyer.outcome_is("confirmed")
    keys = {frame["key"] for frame in buyer.evaluate("return window.claims")}
    assert len(keys) == 1, f"the key changed: {keys}"
    assert server.call("GET", f"api/sales/{sale['id']}")["remaining"] == 4


@test
def test_a_reload_in_the_middle_of_a_claim(world):
    """The page goes away right after asking: after the reload it finds out, and there is one order."""
    sale = server.register_sale("Reloaded", 5)
    buyer = world.browser()
    buyer.before_page_scripts("""
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) {
          if (JSON.parse(text).type === "claim" && !sessionStorage.reloadedOnce) {
            sessionStorage.reloadedOnce = "yes";
            location.reload();
            return;
          }
          send.call(this, text);
        };
    """)
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.says(".connection", "Live")
    buyer.click("#claim")
    buyer.outcome_is("confirmed")
    assert server.call("GET", f"api/sales/{sale['id']}")["remaining"] == 4


@test
def test_not_known_yet_is_not_a_no(world):
    sale = server.register_sale("Undecided", 5)
    buyer = world.browser()
    buyer.before_page_scripts("""
        window.isUndecided = true;
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) {
          const frame = JSON.parse(text);
          if (frame.type !== "claim" || !window.isUndecided) return send.call(this, text);
          const error = { type: "error", code: "unavailable", message: "not now", id: frame.id };
          queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(error) })));
        };
    """)
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.says(".connection", "Live")
    buyer.click("#claim")
    buyer.has("#outcome", "data-tone", "unknown")
    assert "Not known yet" in buyer.text(".outcome__headline")
    assert buyer.attribute("#claim", "aria-busy") == "true"
    buyer.evaluate("window.isUndecided = false")
    buyer.outcome_is("confirmed")


@test
def test_a_token_no_longer_good_signs_out(world):
    buyer = world.browser()
    sale = server.register_sale("Expired", 5)
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says(".connection", "Live")
    buyer.evaluate("""
        const user = JSON.parse(sessionStorage["dibs:user"]);
        sessionStorage["dibs:user"] = JSON.stringify({ ...user, token: user.token.slice(0, -4) + "AAAA" });
    """)
    buyer.reload()
    buyer.says(".notice", "You were signed out")
    buyer.says("#claim", "Sign in")
