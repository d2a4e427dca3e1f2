"""The server under test, spoken to by REST: to set the stage, and to check what the page says against it."""

import datetime
import json
import os
import urllib.error
import urllib.request
import uuid

URL = os.environ["DIBS_URL"].rstrip("/")
ADMIN_KEY = os.environ["DIBS_ADMIN_KEY"]


class Refused(Exception):
    def __init__(self, status, error):
        super().__init__(f"{status} {error}")
        self.status = status
        self.code = error["code"]


def call(method, path, body=None, token=ADMIN_KEY, headers=None):
    """The answer's result. Anything but a 2xx is raised as Refused."""
    request = urllib.request.Request(f"{URL}/{path}", method=method)
    request.add_header("Authorization", f"Bearer {token}")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, data, timeout=20) as answer:
            text = answer.read()
            return json.loads(text)["result"] if text else None
    except urllib.error.HTTPError as error:
        raise Refused(error.code, json.loads(error.read())["error"]) from None


def moment(seconds_from_now):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def register_sale(name, quantity, opens_in=0.0, lasts=3600.0, **more):
    """A sale that is open when this returns, unless it opens later."""
    body = {"name": name, "quantity": quantity, "opensAt": moment(opens_in), "closesAt": moment(opens_in + lasts)}
    sale = call("POST", "api/sales", body | more)
    if opens_in <= 0 and sale["status"] == "scheduled":
        sale = call("POST", f"api/sales/{sale['id']}/open")
    return sale


def make_token(user_id):
    return call("POST", "api/tokens", {"userId": user_id, "expiresIn": 600})["token"]


def claim(sale, user_id, token=None):
    """Claims by REST, for somebody who has no browser here. `token` is the pass, where the sale has a room."""
    headers = {"Idempotency-Key": str(uuid.uuid4())} | ({"token": token} if token else {})
    return call("POST", f"api/sales/{sale['id']}/claims", {"userId": user_id}, make_token(user_id), headers)


def truth(sale, user_id):
    return call("GET", f"api/sales/{sale['id']}/claims/{user_id}")


def make_room(**limits):
    """A room of its own for one test. Returns its id."""
    room = unique("room")
    call("POST", "api/rooms", {"id": room} | limits)
    return room


def join(room, user_id):
    """Joins by REST, for somebody who has no browser here. Returns the pass, or None for who waits."""
    return call("POST", "api/users/token", {"userId": user_id, "room": room})["token"]


def standing(room, user_id):
    return call("GET", f"api/users/{user_id}/token?room={room}")


def leave(room, user_id):
    call("DELETE", f"api/users/{user_id}/token?room={room}")


def make_performance(name="An evening", seats=50, price=500, room=None, hold_seconds=300, **more):
    """A concert with one date, in a room of its own unless one is given. Returns its `concertDetailId`."""
    concert = call("POST", "api/concerts", {"name": name})["concertId"]
    body = {"startsAt": moment(7 * 86400), "price": price, "holdSeconds": hold_seconds, "seats": seats,
            "room": room or make_room()}
    return call("POST", f"api/concerts/{concert}/dates", body | more)["concertDetailId"]


def performance(identity):
    """What anybody may know of a performance."""
    dates = [date for concert in call("GET", "api/concerts") for date in concert["dates"]]
    return next(date for date in dates if date["concertDetailId"] == identity)


def let_in(room, user_id):
    """The pass of somebody who has no browser here, and does not have to wait."""
    token = join(room, user_id)
    assert token, "not let in at once"
    return token


def hold(identity, user_id, seats, token):
    body = {"concertDetailId": identity, "userId": user_id, "seatIds": seats}
    return call("POST", "api/reservations", body, make_token(user_id), {"token": token})


def pay(reservation, user_id, point, token):
    body = {"reservationId": reservation, "userId": user_id, "point": point}
    return call("POST", "api/payment", body, make_token(user_id), {"token": token})


def charge(user_id, point):
    call("PATCH", "api/users/point", {"userId": user_id, "point": point})


def points(user_id):
    return call("GET", f"api/users/{user_id}/point")["point"]


def reservations(user_id):
    return call("GET", f"api/users/{user_id}/reservations")


def audited(identity):
    """What the audit says of a performance."""
    return next(one for one in call("GET", "api/audit")["performances"] if one["performance"] == identity)


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:10]}"
