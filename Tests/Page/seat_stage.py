"""Sets the stage for tests of seats: halls and what of them is taken, played to the page by `played_seats.js`."""

import json
import pathlib
import random

import server

PLAYED_SEATS = (pathlib.Path(__file__).parent / "played_seats.js").read_text()
PERFORMANCE = 7
HALL = [{"name": "Stalls", "rows": 20, "seatsPerRow": 30}, {"name": "Balcony", "rows": 10, "seatsPerRow": 24},
        {"name": "Gallery", "rows": 8, "seatsPerRow": 20}]
ARENA = [{"name": f"Block {letter}", "rows": 50, "seatsPerRow": 100} for letter in "ABCDEFGHIJKLMNOPQRST"]


def hall(seats=50, sections=None, sold=0.0, held=0.0, name="Spring night", **more):
    """A concert with one date, of whose seats these shares are taken, always the same ones."""
    if sections:
        seats = sum(one["rows"] * one["seatsPerRow"] for one in sections)
    chance = random.Random(seats)
    drawn = [chance.random() for _ in range(seats)]
    letters = "".join("s" if one < sold else "h" if one < sold + held else "f" for one in drawn)
    date = {"concertDetailId": PERFORMANCE, "startsAt": server.moment(7 * 86400), "price": 500, "room": "main",
            "holdSeconds": 300, "perClientLimit": None, "seats": seats, "remaining": letters.count("f"),
            "sections": sections}
    played = {"points": 5000, "joins": "admitted"} | {key: more.pop(key) for key in ("points", "joins") if key in more}
    return {"concerts": [{"concertId": 3, "name": name, "dates": [date | more]}], "letters": letters} | played


def play(browser, config):
    browser.before_page_scripts(PLAYED_SEATS.replace("= CONFIG", f"= {json.dumps(config)}"))


def visitor(world, config, **options):
    """Somebody at the performance, not signed in."""
    browser = world.browser(**options)
    play(browser, config)
    browser.open(f"#/performance/{PERFORMANCE}")
    return browser


def buyer(world, config, **options):
    """Somebody who is signed in, and sees the seats."""
    browser = visitor(world, config, **options)
    browser.click("#claim")
    browser.name = browser.sign_up()
    browser.has("#claim", "data-action", "join")
    browser.has(".connection", "data-state", "connected")
    return browser


def admitted(world, config, **options):
    """Somebody whose turn it is."""
    browser = buyer(world, config, **options)
    browser.click("#claim")
    browser.find("#turn")
    return browser


def to_map(browser):
    """Moves the keyboard's focus to the seats."""
    browser.evaluate("document.querySelector('[role=grid]').focus({ focusVisible: true })")


def cell(browser):
    """What assistive technology finds at the cursor: its words, and whether it is chosen."""
    return browser.evaluate("""
        const grid = document.querySelector("[role=grid]");
        const cell = document.getElementById(grid.getAttribute("aria-activedescendant"));
        return [cell.textContent, cell.ariaSelected, Number(cell.dataset.seat)];""")


def click_seat(browser, seat):
    """Clicks where the map shows that seat, in a hall of numbered seats that is all in sight."""
    browser.evaluate("document.querySelector('[role=grid]').scrollIntoView({ block: 'center' })")
    x, y = browser.evaluate("""
        const port = document.querySelector("[role=grid]");
        const [seat] = arguments;
        const columns = 10, rows = 5;
        const { left, top, width, height } = port.getBoundingClientRect();
        const pitch = Math.min(port.clientWidth / (columns + 1), port.clientHeight / (rows + 1));
        const [column, row] = [(seat - 1) % columns, Math.floor((seat - 1) / columns)];
        return [left + width / 2 + (column + 0.5 - columns / 2) * pitch,
          top + height / 2 + (row + 0.5 - rows / 2) * pitch];""", seat)
    for kind in ("mousePressed", "mouseReleased"):
        browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def played(browser, script, *arguments):
    return browser.evaluate(f"return playedSeats.{script}", *arguments)
