"""A shop in front of the server under test: what hooks.py and record.py make beforehand, over REST.

The server and its admin key are those of the environment, `DIBS_URL` and `DIBS_ADMIN_KEY`.
"""

import json
import os
import time
import urllib.error
import urllib.request

SEATS = 50


class Refused(Exception):
    """The server said no."""

    def __init__(self, what, status, error):
        super().__init__(f"{what}: {status} {error}")
        self.status = status


class Date:
    """One date of a concert, as far as it is known here."""

    def __init__(self, answer):
        self.id = answer["concertDetailId"]
        self.concert = answer["concertId"]
        self.room = answer["room"]
        self.price = answer["price"]
        self.seats = answer["seats"]
        # Seat → who holds it or has paid for it.
        self.holders = {}

    def free_seats(self):
        return (seat for seat in range(1, self.seats + 1) if seat not in self.holders)


class Shop:
    def __init__(self):
        self.url = os.environ["DIBS_URL"].rstrip("/")
        self.key = os.environ["DIBS_ADMIN_KEY"]
        self.named = 0

    def call(self, method, path, body=None, **headers):
        """The result of a call; raises `Refused`."""
        headers |= {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                text = response.read()
                return json.loads(text)["result"] if text else None
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read())
            raise Refused(f"{method} {path}", error.code, answer["error"]) from None

    def name(self, kind):
        """One that nobody else takes, on a server where this ran before neither."""
        self.named += 1
        return f"{kind}-{time.time_ns():x}-{self.named}"

    def new_room(self):
        """One that admits everybody at once."""
        room = {"id": self.name("room"), "ordering": "passthrough", "maxActive": 10_000_000, "passSeconds": 604_800}
        return self.call("POST", "/api/rooms", room)["id"]

    def new_date(self, room, **more):
        """A concert with one date, which is returned."""
        concert = self.call("POST", "/api/concerts", {"name": "Conformance"})["concertId"]
        date = {"startsAt": "2099-12-31T20:00:00Z", "price": 150, "seats": SEATS, "room": room, **more}
        return Date(self.call("POST", f"/api/concerts/{concert}/dates", date))

    def pass_of(self, client, room):
        """The client's pass; None while it waits."""
        return self.call("POST", "/api/users/token", {"userId": client, "room": room})["token"]

    def token_of(self, client):
        """A client token, as the WebSocket wants it."""
        return self.call("POST", "/api/tokens", {"userId": client})["token"]

    def charge(self, client, points):
        self.call("PATCH", "/api/users/point", {"userId": client, "point": points})

    def hold(self, date, client, seats):
        """Holds seats, with a pass of the client's."""
        body = {"concertDetailId": date.id, "userId": client, "seatIds": seats}
        held = self.call("POST", "/api/reservations", body, token=self.pass_of(client, date.room))
        date.holders |= dict.fromkeys(seats, client)
        return held

    def pay(self, date, client, held):
        """Pays for a hold, with a pass of the client's."""
        body = {"reservationId": held["reservationId"], "userId": client, "point": held["price"]}
        return self.call("POST", "/api/payment", body, token=self.pass_of(client, date.room))
