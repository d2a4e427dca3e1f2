"""Languages, colours, a phone's width, and what assistive technology finds."""

import json
import pathlib

import server
from harness import test

CONTRAST = (pathlib.Path(__file__).parent / "contrast.js").read_text()
VIEWS = ["", "#/sale/{id}", "#/admin", "#/admin/register", "#/admin/sale/{id}", "#/admin/statistics", "#/admin/failed",
         "#/admin/audit", "#/admin/points", "#/admin/rooms", "#/admin/room/main", "#/admin/concerts", "#/rush", "#/mine"]

PLAYED_ROOM = (pathlib.Path(__file__).parent / "played_room.js").read_text()
DRAW = {"room": "main", "ordering": "random", "seedSha256": "9f86d081884c7d65" * 4, "seed": "00ff00ff00ff00ff" * 4,
        "drawnAt": "2026-01-01T00:00:00.000Z"}
JOINED = {"type": "joined", "rank": 1234567, "waiting": 2040120, "estimatedSeconds": 19000}
# What the server says, and what the line says then, in both languages.
LINES = [
    ([JOINED], "#line-place", ("number 1,234,567", "1,234,567번")),
    ([JOINED], "#line-estimate", ("About 5.5 hours", "약 5.5시간")),
    ([JOINED | {"reachable": False}], "#line-warning", ("unlikely to reach you", "차례가 오기 어렵습니다")),
    ([JOINED | {"provisional": True}], "#line-warning", ("not drawn yet", "아직 순서를 추첨하지")),
    ([{"type": "admitted", "token": "p1", "expiresAt": server.moment(3600)}], "#turn", ("your turn", "내 차례입니다")),
    ([{"type": "expired", "token": "p1"}], ".outcome__headline", ("ran out", "시간이 지났습니다")),
    ([JOINED, {"type": "left", "reason": "timeout"}], ".outcome__headline", ("given up", "취소되었습니다")),
]


@test
def test_korean_dark_on_a_phone(world):
    sale = server.register_sale("봄밤 음악회", 3)
    buyer = world.browser(width=360, height=740, language="ko", dark=True)
    buyer.open(f"#/sale/{sale['id']}")
    assert buyer.evaluate("return document.documentElement.lang") == "ko"
    buyer.says("#claim", "로그인하고 찜하기")
    buyer.click("#claim")
    buyer.sign_up()
    buyer.says("#claim", "찜!")
    bottom = buyer.evaluate("return document.querySelector('#claim').getBoundingClientRect().bottom + scrollY")
    assert bottom <= 740, f"the button is below the fold, at {bottom}"
    buyer.click("#claim")
    buyer.outcome_is("confirmed")
    buyer.says(".outcome__headline", "확정되었습니다")
    red, green, blue = buyer.evaluate(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert max(red, green, blue) < 60, "not dark"
    buyer.picture("sale-korean-dark-phone")


@test
def test_language_and_theme_are_kept(world):
    buyer = world.browser(language="en")
    buyer.open()
    buyer.click("#language")
    buyer.says("h1", "한정 판매")
    assert buyer.driver.title.startswith("지금")
    dark = "return getComputedStyle(document.documentElement).colorScheme"
    buyer.click("#theme")
    assert buyer.evaluate(dark) == "dark"
    assert buyer.attribute("#theme", "aria-pressed") == "true"
    buyer.reload()
    buyer.says("h1", "한정 판매")
    assert buyer.evaluate(dark) == "dark"


@test
def test_nothing_overflows_and_everything_is_readable(world):
    name = "A rather long name for a sale that has to break somewhere"
    sale = server.register_sale(name, 3, price=5, perClientLimit=2)
    server.claim(sale, server.unique("reader"))
    for language, dark, width in (("en", False, 360), ("ko", True, 360), ("en", True, 1280)):
        browser = world.browser(width=width, height=740, language=language, dark=dark, reduced_motion=True)
        browser.open("#/admin")
        browser.enter_admin_key()
        browser.find("tbody tr")
        for view in VIEWS:
            browser.evaluate("location.hash = arguments[0]", view.format(id=sale["id"]) or "#/")
            browser.find("main h1")
            browser.until(lambda: browser.evaluate("return document.fonts.status") == "loaded", "the fonts")
            wide = browser.evaluate("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} is {wide} px too wide at {width} px in {language}"
            faint = browser.evaluate(CONTRAST)
            assert not faint, f"{view} {language} dark={dark}: {faint}"


@test
def test_every_state_of_the_line_is_readable(world):
    sale = server.register_sale("A line that goes around the block", 3, room=server.make_room())
    for number, (dark, width) in enumerate(((False, 360), (True, 360), (False, 1280), (True, 1280))):
        language = ("en", "ko")[number % 2]
        browser = world.browser(width=width, height=740, language=language, dark=dark, reduced_motion=True)
        browser.before_page_scripts(PLAYED_ROOM.replace("playedDraw = null", f"playedDraw = {json.dumps(DRAW)}"))
        browser.open(f"#/sale/{sale['id']}")
        browser.click("#claim")
        browser.sign_up()
        browser.has(".connection", "data-state", "connected")
        browser.click("#draw summary")
        for frames, selector, words in LINES:
            for frame in frames:
                browser.evaluate("played(arguments[0])", frame | {"room": sale["room"]})
            browser.says(selector, words[number % 2])
            wide = browser.evaluate("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{words[0]} is {wide} px too wide at {width} px in {language}"
            faint = browser.evaluate(CONTRAST)
            assert not faint, f"{words[0]} {language} dark={dark}: {faint}"


@test
def test_a_join_that_is_not_decided_is_not_a_no(world):
    sale = server.register_sale("Not now", 3, room=server.make_room())
    browser = world.browser()
    browser.before_page_scripts(PLAYED_ROOM)
    browser.open(f"#/sale/{sale['id']}")
    browser.click("#claim")
    browser.sign_up()
    browser.has(".connection", "data-state", "connected")
    browser.click("#claim")
    browser.until(lambda: browser.evaluate("return window.asked.length > 0"), "the join")
    error = {"type": "error", "code": "unavailable", "message": "not now", "room": None}
    browser.evaluate("played({ ...arguments[0], id: window.asked[0].id })", error)
    browser.says("#line-place", "Joining the line")
    browser.says("#line-obstacle", "can’t say right now")
    browser.until(lambda: browser.evaluate("return window.asked.length > 1"), "the join to be repeated")
    browser.evaluate("played(arguments[0])", JOINED | {"room": sale["room"]})
    browser.says("#line-place", "number 1,234,567")
    assert not browser.shown("#line-obstacle")


@test
def test_ranks_are_not_all_spoken(world):
    sale = server.register_sale("Many ranks", 3, room=server.make_room())
    browser = world.browser()
    browser.before_page_scripts(PLAYED_ROOM)
    browser.open(f"#/sale/{sale['id']}")
    browser.click("#claim")
    browser.sign_up()
    browser.has(".connection", "data-state", "connected")
    browser.evaluate("played(arguments[0])", JOINED | {"room": sale["room"], "rank": 90})
    browser.says("#line-place", "number 90")
    spoken = "return document.querySelector('.line [role=status]').textContent"
    assert "number 90" in browser.evaluate(spoken)
    for rank in range(89, 49, -1):
        browser.evaluate("played(arguments[0])", {"type": "rank", "room": sale["room"], "rank": rank, "waiting": rank})
    browser.says("#line-place", "number 50")
    assert "number 90" in browser.evaluate(spoken), "every change of rank would be spoken"
    progress = browser.attribute("[role=progressbar]", "aria-valuenow")
    assert progress == "44", progress


@test
def test_landmarks_names_and_headings(world):
    sale = server.register_sale("Landmarks", 3)
    browser = world.browser()
    for view in ("", f"#/sale/{sale['id']}", "#/rush"):
        browser.open(view)
        count = "return document.querySelectorAll(arguments[0]).length"
        for landmark in ("header", "main", "footer", "nav[aria-label]"):
            assert browser.evaluate(count, landmark) >= 1, landmark
        browser.until(lambda: len(browser.shown("h1")) == 1, "one first heading")
        nameless = browser.evaluate("""
            return [...document.querySelectorAll("button, a, input, select")].filter((element) => {
              const name = element.getAttribute("aria-label") ?? element.textContent.trim();
              return element.checkVisibility() && !name && !(element.labels?.length > 0);
            }).map((element) => element.outerHTML)""")
        assert not nameless, nameless


@test
def test_focus_follows_the_view(world):
    sale = server.register_sale("Focus", 3)
    browser = world.browser()
    browser.open()
    browser.click(f"a[href='#/sale/{sale['id']}']")
    browser.says("h1", "Focus")
    browser.until(lambda: browser.evaluate("return document.activeElement.tagName") == "H1", "focus on the heading")
    browser.until(lambda: browser.driver.title.startswith("Focus"), "the title to be the sale's")


@test
def test_nothing_comes_from_elsewhere(world):
    browser = world.browser()
    browser.open()
    names = browser.evaluate("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    origin = browser.evaluate("return location.origin")
    outside = [name for name in names if not name.startswith(origin)]
    assert names and not outside, outside
