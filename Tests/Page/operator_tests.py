"""What an operator does: the key, registering and steering a sale, the figures, points, and the rush."""

from selenium.webdriver.common.keys import Keys

import server
from harness import test


def enter(world, fragment, **options):
    operator = world.browser(**options)
    operator.open(fragment)
    operator.enter_admin_key()
    return operator


@test
def test_admin_key_is_checked_and_kept_in_the_tab_only(world):
    operator = world.browser()
    operator.open("#/admin")
    operator.type("[name=key]", "not-the-admin-key")
    operator.click("form [type=submit]")
    operator.says(".field__problem", "does not take this key")
    operator.enter_admin_key()
    operator.says("h1", "Sales")
    assert server.ADMIN_KEY not in operator.driver.current_url
    assert server.ADMIN_KEY not in operator.evaluate("return JSON.stringify(localStorage)")
    operator.reload()
    operator.says("h1", "Sales")
    operator.click(".subnav button")
    operator.find("[name=key]")
    assert server.ADMIN_KEY not in operator.evaluate("return JSON.stringify(sessionStorage)")


@test
def test_register_a_sale(world):
    operator = enter(world, "#/admin/register")
    name = server.unique("By the form")
    operator.type("[name=name]", name)
    operator.type("[name=quantity]", "0")
    operator.click("form [type=submit]")
    operator.has("[name=quantity]", "aria-invalid", "true")
    described = operator.attribute("[name=quantity]", "aria-describedby").split()
    assert any("quantity" in operator.text(f"#{id}") for id in described if operator.shown(f"#{id}"))
    operator.picture("register-refused")

    operator.type("[name=quantity]", "7")
    operator.set_value("[name=closesAt]", "2001-01-01T00:00:00")
    operator.click("form [type=submit]")
    operator.until(lambda: operator.shown(".field__problem"), "the dates to be refused")
    operator.click("form .actions button")
    operator.type("[name=price]", "30")
    operator.type("[name=perClientLimit]", "2")
    operator.click("form [type=submit]")
    operator.says("h1", name)
    sale = next(sale for sale in server.call("GET", "api/sales") if sale["name"] == name)
    assert (sale["quantity"], sale["price"], sale["perClientLimit"]) == (7, 30, 2)
    assert f"/admin/sale/{sale['id']}" in operator.driver.current_url


@test
def test_open_close_and_call_off(world):
    sale = server.register_sale(server.unique("Steered"), 5, opens_in=3000)
    operator = enter(world, "#/admin")
    row = f"tr[data-sale='{sale['id']}']"
    operator.says(f"{row} .status", "Coming up")
    operator.click(f"{row} [data-action=open]")
    operator.says(f"{row} .status", "Open")
    operator.click(f"{row} [data-action=close]")
    operator.says(f"{row} .status", "Closed")
    operator.click(f"{row} [data-action=cancel]")
    operator.click("dialog .secondary")
    operator.gone("dialog")
    assert server.call("GET", f"api/sales/{sale['id']}")["status"] == "closed"
    operator.click(f"{row} [data-action=cancel]")
    operator.click("dialog .primary")
    operator.says(f"{row} .status", "Called off")
    assert server.call("GET", f"api/sales/{sale['id']}")["status"] == "cancelled"


@test
def test_a_called_off_sale_is_shown_to_a_buyer_at_once(world):
    sale = server.register_sale("Rained off", 5)
    buyer = world.browser()
    buyer.open(f"#/sale/{sale['id']}")
    buyer.sign_up()
    buyer.says("#claim", "Dibs!")
    buyer.says(".connection", "Live")
    server.call("POST", f"api/sales/{sale['id']}/cancel")
    buyer.says("#claim", "Called off")


@test
def test_statistics_and_plot(world):
    sale = server.register_sale("Counted", 3)
    for number in range(3):
        server.claim(sale, server.unique(f"counted-{number}"))
    for number in range(2):
        try:
            server.claim(sale, server.unique("late"))
        except server.Refused as refused:
            assert refused.code == "sold_out"
    operator = enter(world, f"#/admin/sale/{sale['id']}")
    expected = {"requests": "5", "accepted": "3", "confirmed": "3", "refused": "2", "remaining": "0"}
    for name, figure in expected.items():
        operator.until(lambda: operator.text(f"[data-figure={name}] dd") == figure, f"{name} to be {figure}")
    operator.find(".plot__requests")
    operator.find(".plot__accepted")
    operator.says(".refusals", "Sold out")
    operator.find("svg").send_keys(Keys.ARROW_LEFT)
    operator.says(".plot__readout", "asked")
    operator.find(".segments label:last-child").click()
    operator.find(".plot__requests")
    operator.picture("statistics")


@test
def test_audit_and_failed_orders(world):
    sale = server.register_sale("Audited", 4)
    for number in range(2):
        server.claim(sale, server.unique(f"audited-{number}"))
    operator = enter(world, "#/admin/audit")
    row = f"tr[data-sale='{sale['id']}']"
    for name, figure in (("quantity", "4"), ("sold", "2"), ("free", "2"), ("inFlight", "0"), ("drift", "0, agrees")):
        operator.until(lambda: operator.text(f"{row} [data-figure={name}]") == figure, f"{name} to be {figure}")
    operator.open("#/admin/failed")
    operator.until(lambda: operator.shown(".empty") or operator.shown("tr[data-order]"), "the list of failed orders")


@test
def test_a_failed_order_is_tried_again(world):
    client = server.unique("poor")
    sale = server.register_sale("Paid later", 3, price=70)
    order = server.claim(sale, client)["order"]
    operator = enter(world, "#/admin/failed")
    row = f"tr[data-order='{order}']"
    operator.says(row, "insufficient_points")
    server.call("PATCH", "api/users/point", {"userId": client, "point": 100})
    operator.click(f"{row} .secondary")
    operator.until(lambda: server.truth(sale, client)["status"] == "confirmed", "the order to be confirmed")
    operator.gone(f"{row} .secondary")
    assert server.call("GET", f"api/users/{client}/point")["point"] == 30


# While `window.held` is a promise, lists of failed orders are asked for only when it is kept.
HOLDS_LISTS = """
const send = window.fetch;
window.fetch = async (where, options) => {
  if (options?.method === "GET" && String(where).startsWith("api/failed-orders")) await window.held;
  return send(where, options);
};
"""


@test
def test_a_failed_order_that_was_settled_between_two_looks_is_gone(world):
    client = server.unique("poor")
    sale = server.register_sale("Paid unseen", 3, price=70)
    order = server.claim(sale, client)["order"]
    operator = world.browser()
    operator.before_page_scripts(HOLDS_LISTS)
    operator.open("#/admin/failed")
    operator.enter_admin_key()
    row = f"tr[data-order='{order}']"
    operator.says(row, "insufficient_points")
    server.call("PATCH", "api/users/point", {"userId": client, "point": 100})
    operator.evaluate("window.held = new Promise((keep) => { window.letGo = keep; })")
    operator.click(f"{row} .secondary")
    operator.until(lambda: server.truth(sale, client)["status"] == "confirmed", "the order to be confirmed")
    operator.evaluate("window.letGo()")
    operator.gone(row)


# Lists of failed orders come from `window.failed`, newest first.
GIVES_LISTS = """
const send = window.fetch;
window.failed = [];
for (let id = 150; id > 0; id -= 1) {
  window.failed.push({ id, order: `1-${id}`, sale: 1, userId: `c${id}`, ticket: id, reason: "poison",
    message: "refused", attempts: 1, failedAt: "2026-01-01T00:00:00.000Z", status: "failed" });
}
window.fetch = async (where, options) => {
  const { pathname, searchParams } = new URL(where, location.href);
  if (pathname !== "/api/failed-orders") return send(where, options);
  const before = Number(searchParams.get("before") ?? Infinity);
  const result = window.failed.filter(({ id }) => id < before).slice(0, Number(searchParams.get("limit") ?? 100));
  return new Response(JSON.stringify({ result, error: null }));
};
"""


@test
def test_older_failed_orders_are_shown_and_followed(world):
    operator = world.browser()
    operator.before_page_scripts(GIVES_LISTS)
    operator.open("#/admin/failed")
    operator.enter_admin_key()
    older = "main p:last-child .secondary"
    count = "return document.querySelectorAll('tr[data-order]').length"
    operator.find("tr[data-order='1-51']")
    assert operator.evaluate(count) == 100
    operator.click(older)
    operator.find("tr[data-order='1-1']")
    assert operator.evaluate(count) == 150
    operator.gone(older)
    operator.evaluate("window.failed = window.failed.filter(({ id }) => id !== 2)")
    operator.gone("tr[data-order='1-2']")
    assert operator.evaluate(count) == 149


@test
def test_points_are_added(world):
    client = server.unique("rich")
    operator = enter(world, "#/admin/points")
    operator.type("[name=userId]", client)
    operator.type("[name=point]", "1200")
    operator.click("form [type=submit]")
    operator.says(".verdict", "1,200")
    assert server.call("GET", f"api/users/{client}/point")["point"] == 1200


def rush(operator, buyers, tickets):
    operator.type("[name=buyers]", str(buyers))
    operator.type("[name=quantity]", str(tickets))
    operator.click("form [type=submit]")
    operator.until(lambda: operator.attribute(".rush__phase", "data-phase") in ("done", "broken"), "the rush to end")
    operator.has(".rush__phase", "data-phase", "done")


@test
def test_rush_of_thirty_on_ten(world):
    operator = enter(world, "#/rush")
    rush(operator, 30, 10)
    assert operator.text("[data-count=confirmed] dd") == "10"
    assert operator.text("[data-count=sold_out] dd") == "20"
    assert len(operator.shown(".cell")) == 30
    operator.has("#rush-verdict", "data-good", "")
    assert all(check.get_attribute("data-good") == "" for check in operator.shown(".checks li"))
    assert "ms" in operator.text("[data-latency=decided] td:nth-of-type(2)")
    operator.picture("rush")


@test
def test_rush_beyond_the_sockets_of_a_browser(world):
    operator = enter(world, "#/rush")
    rush(operator, 206, 203)
    assert operator.text("[data-count=confirmed] dd") == "203"
    operator.has("#rush-verdict", "data-good", "")


@test
def test_rush_needs_a_number_it_can_do(world):
    operator = enter(world, "#/rush")
    operator.type("[name=buyers]", "301")
    operator.click("form [type=submit]")
    operator.has("[name=buyers]", "aria-invalid", "true")


@test
def test_a_room_is_made_watched_and_steered(world):
    operator = enter(world, "#/admin/rooms")
    operator.says("tr[data-room=main] th", "main")
    name = server.unique("room")
    operator.type("[name=id]", "no blanks allowed")
    operator.click("form [type=submit]")
    operator.has("[name=id]", "aria-invalid", "true")
    operator.type("[name=id]", name)
    operator.type("[name=maxActive]", "1")
    operator.type("[name=passSeconds]", "0")
    operator.click("form [type=submit]")
    operator.has("[name=passSeconds]", "aria-invalid", "true")
    operator.type("[name=passSeconds]", "120")
    operator.click("form [type=submit]")
    operator.says("h1", name)
    room = server.call("GET", f"api/rooms/{name}")
    assert (room["maxActive"], room["passSeconds"], room["admitPerMinute"]) == (1, 120, None), room

    for number in range(3):
        server.join(name, server.unique(f"waiter-{number}"))
    operator.says("[data-figure=waiting] dd", "2")
    operator.says("[data-figure=active] dd", "1 of 1")
    for line in ("[data-gauge=waiting] .plot__waiting", "[data-gauge=active] .plot__maxActive"):
        # A line that is level has no height, which the driver takes for not shown.
        operator.until(lambda: operator.attribute(line, "points"), f"{line} in the plot")
    operator.picture("room")
    operator.type("[name=maxActive]", "-1")
    operator.click("form [type=submit]")
    operator.has("[name=maxActive]", "aria-invalid", "true")
    operator.type("[name=maxActive]", "2")
    operator.type("[name=admitPerMinute]", "600")
    operator.click("form [type=submit]")
    operator.says("[data-figure=active] dd", "2 of 2")
    operator.says("[data-figure=waiting] dd", "1")
    room = server.call("GET", f"api/rooms/{name}")
    assert (room["maxActive"], room["admitPerMinute"]) == (2, 600), room
    operator.evaluate("location.hash = '#/admin/rooms'")
    operator.says(f"tr[data-room='{name}'] [data-figure=active]", "2 / 2")


@test
def test_a_sale_is_registered_with_a_room(world):
    room = server.make_room()
    operator = enter(world, "#/admin/register")
    name = server.unique("Behind a door")
    operator.type("[name=name]", name)
    operator.until(lambda: operator.evaluate(
        "return [...document.querySelector('[name=room]').options].some((one) => one.value === arguments[0])", room),
        "the room to be among the choices")
    operator.find(f"[name=room] option[value='{room}']").click()
    operator.click("form [type=submit]")
    operator.says("h1", name)
    sale = next(sale for sale in server.call("GET", "api/sales") if sale["name"] == name)
    assert sale["room"] == room
    operator.says(".statistics__head", f"Room {room}")
    operator.find(".statistics__head a[href*='/admin/room/']").click()
    operator.says("h1", room)
    operator.says(".lines", name)
