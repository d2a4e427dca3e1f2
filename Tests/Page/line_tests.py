"""What a buyer sees of a waiting room: joining, moving up, being let in, and what can go wrong on the way."""

from selenium.webdriver.common.keys import Keys

import server
from harness import PASSWORD, test

# Lets a test cut the connection, as a network does.
CATCH_SOCKET = """
{
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    window.socket = this;
    send.call(this, text);
  };
}
"""


def full_room(**limits):
    """A room whose only place is taken. Returns its id, and who has the place."""
    room = server.make_room(**({"maxActive": 1} | limits))
    holder = server.unique("holder")
    sale = server.register_sale("The long line", 5, room=room)
    assert server.join(room, holder), "nobody was there, and yet the first was not let in"
    return room, holder, sale


def signed_in(world, sale, **options):
    buyer = world.browser(**options)
    buyer.before_page_scripts(CATCH_SOCKET)
    buyer.open(f"#/sale/{sale['id']}")
    buyer.says("#claim", "Sign in to join the line")
    buyer.click("#claim")
    buyer.name = buyer.sign_up()
    buyer.says("#claim", "Join the line")
    buyer.says(".connection", "Live")
    return buyer


def in_line(world, sale, **options):
    buyer = signed_in(world, sale, **options)
    buyer.click("#claim")
    buyer.says("#line-place", "in line")
    return buyer


@test
def test_from_the_end_of_the_line_to_a_ticket(world):
    room, holder, sale = full_room()
    first = server.unique("first")
    assert server.join(room, first) is None
    buyer = in_line(world, sale)
    buyer.says("#line-place", "You are number 2 in line.")
    buyer.says("#line-waiting", "2 are waiting")
    assert not buyer.shown("#claim"), "a claim is offered to somebody who waits"
    buyer.until(lambda: buyer.driver.title.startswith("No. 2"), "the title to tell the place")
    buyer.picture("line-waiting")

    server.leave(room, first)
    buyer.says("#line-place", "You are number 1 in line.")
    assert buyer.attribute("[role=progressbar]", "aria-valuenow") == "50"
    server.leave(room, holder)
    buyer.says("#turn", "It’s your turn!")
    buyer.until(lambda: buyer.evaluate("return document.activeElement.id") == "turn", "focus on the heading")
    buyer.until(lambda: buyer.driver.title.startswith("Your turn!"), "the title to tell it")
    buyer.says("[role=timer]", "04:5")
    buyer.picture("line-turn")

    buyer.press(Keys.TAB)
    assert buyer.evaluate("return document.activeElement.id") == "claim"
    buyer.press(Keys.ENTER)
    buyer.outcome_is("confirmed")
    assert server.truth(sale, buyer.user_id())["status"] == "confirmed"
    assert not buyer.shown("#turn"), "the pass is spent"
    buyer.until(lambda: server.call("GET", f"api/rooms/{room}")["active"] == 0, "the place to fall free")
    buyer.reload()
    buyer.outcome_is("confirmed")
    assert server.call("GET", f"api/rooms/{room}")["waiting"] == 0, "put in line again after the purchase"


@test
def test_a_place_is_kept_over_a_reload_and_on_other_views(world):
    room, holder, sale = full_room()
    first = server.unique("first")
    server.join(room, first)
    buyer = in_line(world, sale)
    behind = server.unique("behind")
    server.join(room, behind)
    server.leave(room, first)
    buyer.says("#line-place", "number 1")
    buyer.reload()
    buyer.says("#line-place", "You are number 1 in line.")
    assert buyer.attribute("[role=progressbar]", "aria-valuenow") == "50", "the way that was come is forgotten"
    buyer.says("#line-waiting", "2 are waiting")
    buyer.evaluate("location.hash = '#/'")
    buyer.says("#line-strip", "You are number 1 in line: The long line")
    buyer.reload()
    buyer.says("#line-strip", "You are number 1 in line: The long line")
    server.leave(room, holder)
    buyer.says("#line-strip", "It’s your turn: The long line")
    buyer.click("#line-strip a")
    buyer.says("#turn", "It’s your turn!")
    assert server.standing(room, behind)["rank"] == 1


@test
def test_a_place_is_found_again_on_another_device(world):
    room, holder, sale = full_room()
    buyer = in_line(world, sale)
    other = world.browser(width=400, height=800)
    other.open(f"#/sale/{sale['id']}")
    other.click("#sign-in")
    other.find("dialog .segments label:last-child").click()
    other.type("dialog [name=name]", buyer.name)
    other.type("dialog [name=password]", PASSWORD)
    other.click("dialog [type=submit]")
    other.says("#line-place", "You are number 1 in line.")
    other.says("#line-waiting", "1 is waiting")
    server.leave(room, holder)
    buyer.says("#turn", "It’s your turn!")
    other.says("#turn", "It’s your turn!")
    other.click("#claim")
    other.outcome_is("confirmed")
    buyer.outcome_is("confirmed")
    buyer.gone("#turn")


@test
def test_leaving_on_one_device_is_heard_on_the_other(world):
    room, _, sale = full_room()
    buyer = in_line(world, sale)
    buyer.evaluate("localStorage.setItem('dibs:user', sessionStorage.getItem('dibs:user'))")
    buyer.evaluate("window.open(location.href)")
    first, second = buyer.driver.window_handles
    buyer.driver.switch_to.window(second)
    buyer.says("#line-place", "You are number 1 in line.")
    buyer.click("#leave")
    buyer.click("dialog .primary")
    buyer.says(".outcome__headline", "You left the line")
    buyer.driver.switch_to.window(first)
    buyer.says(".outcome__headline", "You left the line")
    assert server.call("GET", f"api/rooms/{room}")["waiting"] == 0


@test
def test_a_lost_connection_keeps_the_place(world):
    room, holder, sale = full_room(graceSeconds=20)
    buyer = in_line(world, sale)
    server.join(room, server.unique("behind"))
    buyer.evaluate("window.lost = window.socket; window.socket.close()")
    buyer.until(lambda: buyer.evaluate("return window.socket !== window.lost"), "another connection")
    buyer.says(".connection", "Live")
    buyer.says("#line-waiting", "2 are waiting")
    buyer.says("#line-place", "You are number 1 in line.")
    server.leave(room, holder)
    buyer.says("#turn", "It’s your turn!")


@test
def test_a_place_that_was_lost_is_not_passed_over(world):
    room, _, sale = full_room(graceSeconds=3)
    buyer = in_line(world, sale)
    buyer.says("#line-place", "number 1")
    buyer.driver.get("about:blank")
    buyer.until(lambda: server.call("GET", f"api/rooms/{room}")["vanished"] == 1, "the place to be given up")
    server.join(room, server.unique("behind"))
    buyer.open(f"#/sale/{sale['id']}")
    buyer.says("#line-place", "You are number 2 in line.")
    buyer.says("#line-anew", "given up while you were away")


@test
def test_time_runs_out_and_the_line_begins_anew(world):
    room = server.make_room(maxActive=1, passSeconds=4)
    sale = server.register_sale("In a hurry", 5, room=room)
    buyer = signed_in(world, sale)
    buyer.click("#claim")
    buyer.says("#turn", "It’s your turn!")
    buyer.says("[role=timer]", "00:0")
    buyer.says(".outcome__headline", "Your time ran out")
    buyer.gone("#turn")
    buyer.says("#claim", "Join the line again")
    buyer.click("#claim")
    buyer.says("#turn", "It’s your turn!")
    buyer.click("#claim")
    buyer.outcome_is("confirmed")


@test
def test_leaving_the_line(world):
    room, _, sale = full_room()
    buyer = in_line(world, sale)
    buyer.click("#leave")
    buyer.click("dialog .secondary")
    buyer.gone("dialog")
    buyer.says("#line-place", "number 1")
    buyer.click("#leave")
    buyer.click("dialog .primary")
    buyer.says(".outcome__headline", "You left the line")
    buyer.until(lambda: buyer.evaluate("return document.activeElement.id") == "claim", "focus on the button")
    assert server.call("GET", f"api/rooms/{room}")["waiting"] == 0
    buyer.reload()
    buyer.says("#claim", "Join the line")


@test
def test_sold_out_and_closed_while_waiting(world):
    room = server.make_room(maxActive=1)
    sale = server.register_sale("Just one", 1, room=room)
    holder = server.unique("holder")
    token = server.join(room, holder)
    buyer = in_line(world, sale)
    buyer.says("#line-place", "number 1")
    server.claim(sale, holder, token)
    buyer.has(".ticket .status", "data-status", "sold_out")
    # The pass was spent: the buyer is let in, in case that the ticket comes back, or told that there is none.
    buyer.until(lambda: buyer.shown("#line-warning") or buyer.shown("#turn"), "the state after the last ticket")
    server.call("POST", f"api/sales/{sale['id']}/close")
    buyer.has(".ticket .status", "data-status", "closed")
    buyer.says(".outcome__headline", "This sale is over")
    buyer.gone("#turn")
    buyer.gone("#line")


@test
def test_a_line_that_takes_nobody(world):
    sale = server.register_sale("Invitation only", 5, room=server.make_room(ordering="reject"))
    buyer = signed_in(world, sale)
    buyer.click("#claim")
    buyer.says(".outcome__headline", "Nobody is let in right now")
    buyer.says("#claim", "Join the line again")


@test
def test_lots_are_drawn_at_the_opening(world):
    room = server.make_room(maxActive=1, ordering="random")
    sale = server.register_sale("By lot", 5, opens_in=9, room=room)
    buyer = in_line(world, sale)
    server.join(room, server.unique("other"))
    buyer.says("#line-warning", "not drawn yet")
    buyer.click("#draw summary")
    fingerprint = server.call("GET", f"api/rooms/{room}/draw")["seedSha256"]
    buyer.says("#draw", fingerprint)
    assert not buyer.shown("#draw-check")
    buyer.picture("line-before-the-draw")
    buyer.until(lambda: buyer.shown("#turn") or "number 1" in buyer.text("#line-place"), "the draw")
    buyer.says("#draw-check", "checked it")
    assert server.call("GET", f"api/rooms/{room}/draw")["seed"] in buyer.text("#draw")
    buyer.picture("line-after-the-draw")


@test
def test_a_line_by_keyboard_alone(world):
    room, holder, sale = full_room()
    buyer = signed_in(world, sale)
    buyer.tab_to("#claim")
    buyer.press(Keys.ENTER)
    buyer.says("#line-place", "number 1")
    buyer.tab_to("#leave")
    buyer.press(Keys.ENTER)
    buyer.find("dialog")
    buyer.press(Keys.ESCAPE)
    buyer.gone("dialog")
    server.leave(room, holder)
    buyer.until(lambda: buyer.evaluate("return document.activeElement.id") == "turn", "focus on the heading")
