#!/usr/bin/env python3
"""Plays buyers on a running server, and writes what goes over their WebSockets: a recording for asyncapi_check.py.

    DIBS_URL=http://127.0.0.1:8080 DIBS_ADMIN_KEY=… record.py >recording.jsonl

Nothing is waited for but frames. The exit code is 1 when one that must come doesn't.
"""

import contextlib
import functools
import json
import sys

from shop import Shop
from websockets.sync.client import connect

PATIENCE = 20


class Buyer:
    """A client on a connection of its own, all of whose frames are written down."""

    def __init__(self, shop, connections, name, client=None, **more):
        self.name = name
        self.client = client or shop.name(name)
        self.asked = 0
        address = shop.url.replace("http", "ws", 1) + "/ws"
        self.socket = connections.enter_context(connect(address, max_size=None))
        self.connected = self.ask("connect", {"connected"}, token=shop.token_of(self.client), **more)

    def write(self, direction, frame):
        print(json.dumps({"connection": self.name, "direction": direction, "frame": frame}), flush=True)

    def until(self, what, matches):
        """The first frame from now on that matches."""
        while True:
            try:
                frame = json.loads(self.socket.recv(timeout=PATIENCE))
            except TimeoutError:
                raise SystemExit(f"{self.name}: no {what} in {PATIENCE} s") from None
            self.write("out", frame)
            if matches(frame):
                return frame

    def ask(self, kind, answers, **members):
        """Sends a frame, and waits for its answer, which has to be of one of these types."""
        self.asked += 1
        number = self.asked
        frame = {"type": kind, "id": number, **members}
        self.write("in", frame)
        self.socket.send(json.dumps(frame))
        answer = self.until(f"answer to {kind}", lambda frame: frame.get("id") == number)
        if answer["type"] not in answers:
            raise SystemExit(f"{self.name}: {frame} was answered by {answer}")
        return answer

    def outcome(self, kind, **members):
        what = f"{kind} with {members}"
        return self.until(what, lambda frame: frame["type"] == kind and members.items() <= frame.items())

    def seat_becomes(self, seat, status):
        change = {"seatId": seat, "status": status}
        return self.until(f"seats with {change}", lambda frame: change in frame.get("changes", []))

    def admitted(self, room):
        """The pass of a room that admits everybody."""
        return self.ask("join", {"admitted"}, room=room)["token"]


def play_seats(shop, buyer, room):
    date = shop.new_date(room, seats={"sections": [{"name": "Stalls", "rows": 2, "seatsPerRow": 3}]}, perClientLimit=3)
    watcher = buyer("watcher")
    watcher.ask("watch", {"seats"}, performance=date.id)
    distant = buyer("distant")
    distant.ask("watch", {"seats"}, performance=str(date.id), compact=True)
    alice, bob = buyer("alice"), buyer("bob")
    wants = {"performance": date.id, "seats": [1, 2], "token": alice.admitted(room)}
    held = alice.ask("hold", {"held"}, **wants)
    if alice.ask("hold", {"held"}, **wants)["expiresAt"] != held["expiresAt"]:
        raise SystemExit("asking again moved the deadline")
    for connection in watcher, distant:
        connection.seat_becomes(2, "held")

    token = bob.admitted(room)
    bob.ask("hold", {"error"}, performance=date.id, seats=[2, 3], token=token)
    bob.ask("hold", {"error"}, performance=date.id, seats=[3, 4, 5, 6], token=token)
    bob.ask("hold", {"error"}, performance=date.id, seats=[7], token=token)
    bob.ask("hold", {"error"}, performance=date.id, seats=[3], token="none")
    bob.ask("hold", {"error"}, performance=2**53 - 1, seats=[3], token=token)

    shop.charge(alice.client, held["price"])
    shop.pay(date, alice.client, held)
    alice.outcome("reservation", reservationId=held["reservationId"], status="paid")
    watcher.seat_becomes(2, "sold")
    shop.call("DELETE", f"/api/reservations/{held['reservationId']}")
    alice.outcome("reservation", reservationId=held["reservationId"], status="released")
    for connection in watcher, distant:
        connection.seat_becomes(2, "free")
    watcher.ask("unwatch", {"seats"}, performance=date.id)
    watcher.ask("watch", {"error"}, performance=2**53 - 1)


def play_running_out(shop, buyer, room):
    """A hold that nobody pays; then a resume from just before it ran out, which is told so again."""
    date = shop.new_date(room, seats=2, holdSeconds=1)
    watcher, carol = buyer("second-watcher"), buyer("carol")
    watcher.ask("watch", {"seats"}, performance=date.id)
    held = carol.ask("hold", {"held"}, performance=date.id, seats=["1"], token=carol.admitted(room))
    fate = {"reservationId": held["reservationId"], "status": "expired"}
    expired = carol.outcome("reservation", **fate)
    watcher.seat_becomes(1, "free")
    resume = {"epoch": carol.connected["epoch"], "offset": expired["offset"] - 1}
    again = buyer("carol-again", carol.client, resume=resume)
    again.outcome("reservation", offset=expired["offset"], **fate)


def play_sale(shop, buyer, room):
    sale = {"name": "Noon", "quantity": 1, "opensAt": "2020-01-01T00:00:00Z", "closesAt": "2099-01-01T00:00:00Z"}
    sale = shop.call("POST", "/api/sales", {**sale, "room": room})["id"]
    dave, erin = buyer("dave"), buyer("erin")
    dave.ask("watch", {"sale"}, sale=sale)
    dave.ask("claim", {"result"}, sale=sale)
    dave.ask("claim", {"result"}, sale=sale, key="one", token=dave.admitted(room))
    dave.outcome("order", sale=sale, status="confirmed")
    erin.ask("claim", {"result"}, sale=str(sale), token=erin.admitted(room))
    dave.ask("unwatch", {"sale"}, sale=sale)
    erin.ask("leave", {"left"}, room=room)
    erin.ask("ping", {"pong"})


def play_line(shop, buyer):
    """A room for one: two wait, one of them goes, and the other is let in when the place falls free."""
    room = {"id": shop.name("line"), "ordering": "fifo", "maxActive": 1, "graceSeconds": 60}
    room = shop.call("POST", "/api/rooms", room)["id"]
    frank, grace, heidi = buyer("frank"), buyer("grace"), buyer("heidi")
    frank.admitted(room)
    grace.ask("join", {"joined"}, room=room)
    heidi.ask("join", {"joined"}, room=room)
    grace.ask("leave", {"left"}, room=room)
    heidi.until("the next rank", lambda frame: frame["type"] == "rank" and frame["rank"] == 1)
    frank.ask("leave", {"left"}, room=room)
    heidi.outcome("admitted", room=room)


def play_passing(shop, buyer):
    """A pass that nobody uses runs out."""
    room = {"id": shop.name("short"), "ordering": "fifo", "maxActive": 1, "passSeconds": 1}
    room = shop.call("POST", "/api/rooms", room)["id"]
    ivan = buyer("ivan")
    ivan.outcome("expired", token=ivan.admitted(room))


def main():
    shop = Shop()
    room = shop.new_room()
    with contextlib.ExitStack() as connections:
        buyer = functools.partial(Buyer, shop, connections)
        play_seats(shop, buyer, room)
        play_running_out(shop, buyer, room)
        play_sale(shop, buyer, room)
        play_line(shop, buyer)
        play_passing(shop, buyer)


if __name__ == "__main__":
    sys.exit(main())
