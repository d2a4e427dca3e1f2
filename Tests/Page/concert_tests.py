"""Concerts against the real server: what the page does with seats is what the server then says, and the other way round."""

from selenium.webdriver.common.keys import Keys

import server
from harness import PASSWORD, test
from operator_tests import enter
from seat_stage import cell, to_map

CUT_PAYMENTS = """
    window.payments = [];
    const fetched = window.fetch;
    window.fetch = async (path, options) => {
      const answer = await fetched(path, options);
      if (path !== "api/payment") return answer;
      window.payments.push(options.headers["idempotency-key"]);
      // It was paid, or not; the first answer never arrives here.
      if (window.payments.length === 1) throw new TypeError("cut by the test");
      return answer;
    };
"""
CATCH_SOCKET = """
{
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    window.socket = this;
    send.call(this, text);
  };
}
"""


def signed_in(world, identity, scripts="", points=2000, **options):
    browser = world.browser(**options)
    browser.before_page_scripts(CATCH_SOCKET + scripts)
    browser.open(f"#/performance/{identity}")
    browser.says("#claim", "Sign in")
    browser.click("#claim")
    browser.name = browser.sign_up()
    if points:
        server.charge(browser.user_id(), points)
        browser.reload()
    browser.has("#claim", "data-action", "join")
    browser.says(".connection", "Live")
    return browser


def let_in(world, identity, **options):
    browser = signed_in(world, identity, **options)
    browser.click("#claim")
    browser.find("#turn")
    return browser


def hold_first(browser, count=1, then="pay"):
    to_map(browser)
    browser.until(lambda: "free" in cell(browser)[0], "the seats to be known")
    for at in range(count):
        browser.press(*([Keys.ARROW_RIGHT] if at else []), " ")
    browser.click("#claim")
    browser.has("#claim", "data-action", then)


def is_said(browser, seat, kind):
    """Waits until the map says so of a seat of the first row of ten."""
    to_map(browser)
    browser.press(Keys.CONTROL + Keys.HOME, *([Keys.ARROW_RIGHT] * (seat - 1)))
    browser.until(lambda: cell(browser)[0] == f"Seat {seat}: {kind}", f"seat {seat} to be {kind}")


@test
def test_from_the_line_to_paid_seats(world):
    identity = server.make_performance("The whole way", price=300)
    buyer = let_in(world, identity)
    hold_first(buyer, 2)
    [held] = server.reservations(buyer.user_id())
    assert (held["status"], held["seatIds"], held["price"]) == ("held", [1, 2], 600)
    buyer.says("#remaining", "48")
    buyer.click("#claim")
    buyer.says(".outcome__headline", "2 seats are yours")
    buyer.says(".stub__points", "You have 1,400 points")
    [paid] = server.reservations(buyer.user_id())
    assert paid["status"] == "paid" and paid["paymentId"]
    assert server.points(buyer.user_id()) == 1400
    room = server.performance(identity)["room"]
    assert server.standing(room, buyer.user_id())["status"] == "FINISHED"
    buyer.until(lambda: server.audited(identity)["sold"] == 2, "the audit to say it")
    assert server.audited(identity)["drift"] == 0
    buyer.reload()
    buyer.says(".outcome__headline", "2 seats are yours")
    is_said(buyer, 2, "yours")
    assert server.call("GET", f"api/rooms/{room}")["waiting"] == 0, "put in line again after the purchase"


@test
def test_what_others_do_is_seen_live(world):
    identity = server.make_performance("Live")
    room = server.performance(identity)["room"]
    other = server.unique("other")
    watcher = signed_in(world, identity)
    token = server.let_in(room, other)
    reservation = server.hold(identity, other, [1, 3], token)["reservationId"]
    watcher.says("#remaining", "48")
    is_said(watcher, 3, "held by somebody")
    server.charge(other, 1000)
    server.pay(reservation, other, 1000, token)
    is_said(watcher, 1, "sold")
    server.call("DELETE", f"api/reservations/{reservation}", token=server.make_token(other))
    is_said(watcher, 1, "free")
    watcher.says("#remaining", "50")
    assert server.points(other) == 1000


@test
def test_two_want_the_same_seat(world):
    identity = server.make_performance("Both")
    other = server.unique("other")
    buyer = let_in(world, identity)
    token = server.let_in(server.performance(identity)["room"], other)
    # The page must not hear of it before it asks.
    buyer.evaluate("""
        const tell = window.socket.onmessage;
        window.socket.onmessage = (event) => {
          const { type, id } = JSON.parse(event.data);
          if (type !== "seats" || id !== undefined) tell(event);
        };""")
    to_map(buyer)
    buyer.press(" ", Keys.ARROW_RIGHT, " ")
    server.hold(identity, other, [2], token)
    buyer.click("#claim")
    buyer.says(".outcome__headline", "Somebody else was faster")
    buyer.says(".outcome__detail", "Seat 2")
    assert server.reservations(buyer.user_id()) == [], "half of it was held"
    buyer.says("#claim", "Hold 1 seat")
    buyer.click("#claim")
    buyer.has("#claim", "data-action", "pay")
    assert [one["seatIds"] for one in server.reservations(buyer.user_id())] == [[1]]


@test
def test_the_real_hold_runs_out(world):
    identity = server.make_performance("Too slow", hold_seconds=4)
    buyer = let_in(world, identity)
    hold_first(buyer)
    buyer.says(".outcome__headline", "your seat is free again")
    buyer.says("#remaining", "50")
    is_said(buyer, 1, "free")
    assert [one["status"] for one in server.reservations(buyer.user_id())] == ["expired"]
    assert server.points(buyer.user_id()) == 2000


@test
def test_a_lost_answer_to_a_payment_charges_once(world):
    identity = server.make_performance("Cut off")
    buyer = let_in(world, identity, scripts=CUT_PAYMENTS)
    hold_first(buyer)
    buyer.click("#claim")
    buyer.says(".outcome__headline", "1 seat is yours")
    keys = buyer.evaluate("return window.payments")
    # It hears of the payment over the WebSocket, or asks again, by the same key.
    assert len(set(keys)) == 1, keys
    assert server.points(buyer.user_id()) == 1500


@test
def test_a_hold_on_one_device_is_seen_and_paid_on_another(world):
    identity = server.make_performance("Two devices")
    first = let_in(world, identity)
    hold_first(first)
    second = world.browser(width=400, height=800)
    second.open("#/mine")
    second.click("#sign-in")
    second.find("dialog .segments label:last-child").click()
    second.type("dialog [name=name]", first.name)
    second.type("dialog [name=password]", PASSWORD)
    second.click("dialog [type=submit]")
    second.gone("dialog")
    second.has(".reservation", "data-status", "held")
    second.click("[data-action=pay]")
    second.has(".reservation", "data-status", "paid")
    first.says(".outcome__headline", "1 seat is yours")
    first.says(".stub__points", "You have 1,500 points")
    second.click("[data-action=cancel]")
    second.click("dialog .primary")
    second.has(".reservation", "data-status", "released")
    first.says("#remaining", "50")
    first.says(".stub__points", "You have 2,000 points")


@test
def test_seats_after_a_lost_connection(world):
    identity = server.make_performance("Interrupted")
    other = server.unique("other")
    buyer = let_in(world, identity)
    hold_first(buyer)
    token = server.let_in(server.performance(identity)["room"], other)
    buyer.evaluate("""
        const lost = window.socket.onclose;
        const socket = window.socket;
        socket.onmessage = socket.onclose = null;
        socket.close();
        lost.call(socket, { code: 1006, reason: "cut by the test" });""")
    server.hold(identity, other, [2], token)
    buyer.says("#remaining", "48")
    is_said(buyer, 2, "held by somebody")
    is_said(buyer, 1, "held for you")
    buyer.click("#claim")
    buyer.says(".outcome__headline", "1 seat is yours")


@test
def test_topping_up_is_one_s_own_doing(world):
    identity = server.make_performance("Poor")
    buyer = let_in(world, identity, points=0)
    hold_first(buyer, then="topUp")
    buyer.click("#claim")
    buyer.click("dialog [type=submit]")
    buyer.gone("dialog")
    assert server.points(buyer.user_id()) == 500
    buyer.says("#claim", "Pay 500 points")
    buyer.click("#claim")
    buyer.says(".outcome__headline", "1 seat is yours")
    assert server.points(buyer.user_id()) == 0


@test
def test_a_concert_and_its_dates_are_made_by_the_operator(world):
    operator = enter(world, "#/admin/concerts")
    name = server.unique("Made by the form")
    operator.type("[name=name]", name)
    operator.evaluate("document.querySelector('[name=name]').form.requestSubmit()")
    operator.says(".toast", name)
    offered = "return [...document.querySelector('[name=concert]').options].some((one) => one.text === arguments[0])"
    operator.until(lambda: operator.evaluate(offered, name), "the concert to be offered")
    operator.evaluate("""
        const select = document.querySelector("[name=concert]");
        select.value = [...select.options].find((one) => one.text === arguments[0]).value;""", name)
    operator.type("[name=seats]", "0")
    operator.evaluate("document.querySelector('[name=seats]').form.requestSubmit()")
    operator.has("[name=seats]", "aria-invalid", "true")
    operator.click(".section-fields .segments label:last-child")
    operator.type("[data-field=rows]", "3")
    operator.type("[data-field=seatsPerRow]", "4")
    operator.type("[name=perClientLimit]", "2")
    operator.evaluate("document.querySelector('[name=seats]').form.requestSubmit()")
    operator.says("tbody", name)
    concert = next(one for one in server.call("GET", "api/concerts") if one["name"] == name)
    [date] = concert["dates"]
    assert (date["seats"], date["perClientLimit"]) == (12, 2)
    assert date["sections"] == [{"name": "A", "rows": 3, "seatsPerRow": 4}]
    row = f"tr[data-performance='{date['concertDetailId']}']"
    operator.says(f"{row} [data-figure=free]", "12")
    user = server.unique("holder")
    server.hold(date["concertDetailId"], user, [1, 2], server.let_in(date["room"], user))
    operator.says(f"{row} [data-figure=held]", "2")
    operator.says(f"{row} [data-figure=free]", "10")
    operator.says(f"{row} [data-figure=drift]", "0, agrees")
