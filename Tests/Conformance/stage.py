"""What hooks.py makes for the calls about concerts, so that they meet things that exist: a concert with a date, passes,
holds. Schemathesis draws ids, and those it draws belong to nothing.

Values that are wrong on purpose stay so. Of those that are right, ids that a call before gave stay as well; of the
others some are left alone, so that 404 and 403 are met too, and the rest are replaced.
"""

import json
import re
import zlib

from shop import SEATS, Date, Refused, Shop

NUMBER = re.compile(r"[1-9]\d{0,15}")
CLIENT = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RESERVATION = re.compile(r"[1-9]\d*-[1-9]\d*")
NOBODYS = 2**53 - 1
MOST_SEATS = 100_000
# The most points that one call may add.
MOST_POINTS = 10**12


def whole(value):
    """A JSON value as a whole number (5.0 is one, true isn't), or None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_of(value, most=2**53 - 1):
    """The number that a JSON value stands for as an id, given as a number or as a string; None where it is none."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = int(value)
    number = whole(value)
    return number if number is not None and 1 <= number <= most else None


def client_of(value):
    """The client that a JSON value names, or None."""
    number = whole(value)
    if number is not None:
        return str(number) if 0 <= number < 2**53 else None
    return value if isinstance(value, str) and CLIENT.fullmatch(value) else None


def one_of(count, *values):
    """Whether the lot falls on these values: the same for the same values, about one in so many."""
    return zlib.crc32(json.dumps(values, default=str, sort_keys=True).encode()) % count == 0


class Stage:
    def __init__(self):
        self.shop = Shop()
        self.room = self.shop.new_room()
        self.dates = {}
        self.concerts = set()
        # Reservation → the date, whose it is and what it costs.
        self.reservations = {}
        self.date = self.new_date()

    def new_date(self):
        date = self.shop.new_date(self.room)
        self.remember(date)
        return date

    def remember(self, date):
        self.dates[date.id] = date
        self.concerts.add(date.concert)

    # --- what calls answered

    def created_date(self, answer):
        self.remember(Date(answer))

    def created_hold(self, client, answer):
        date = self.dates.get(answer["concertDetailId"])
        if date:
            date.holders |= dict.fromkeys(answer["seatIds"], client)
            self.reservations[answer["reservationId"]] = (date, client, answer["price"])

    # --- ids

    def concert(self, value):
        """A concert's id, for one that was drawn."""
        number = id_of(value)
        if number is None or number in self.concerts or one_of(4, value):
            return value
        return self.date.concert

    def performance(self, value):
        """A date's id, for one that was drawn."""
        number = id_of(value)
        if number is None or number in self.dates:
            return value
        # A low number may be that of a date that somebody else made, whose seats aren't known here.
        found = NOBODYS if one_of(4, value) else self.date.id
        return str(found) if isinstance(value, str) else found

    def reservation(self, value):
        """A reservation's id, for one that was drawn: of a hold, or of one that is paid."""
        is_one = isinstance(value, str) and len(value) <= 64 and RESERVATION.fullmatch(value)
        if not is_one or value in self.reservations or one_of(4, value):
            return value
        client, held = self.fresh_hold()
        if one_of(2, value, "paid"):
            self.shop.charge(client, held["price"])
            self.shop.pay(self.date, client, held)
        return held["reservationId"]

    def fresh_hold(self):
        """A client, and a hold that it just took of a seat of `date`."""
        client = self.shop.name("client")
        for _ in range(2):
            seat = next(self.date.free_seats(), None)
            try:
                if seat:
                    held = self.shop.hold(self.date, client, [seat])
                    self.created_hold(client, held)
                    return client, held
            except Refused as refused:
                if refused.status != 409:
                    raise
            # All taken, some perhaps by calls that aren't known here.
            self.date = self.new_date()
        raise AssertionError(f"none of {SEATS} new seats can be held")

    # --- passes

    def pass_for(self, drawn, client, room):
        """A pass that is good, or what was drawn."""
        if one_of(8, drawn, client, room):
            return drawn
        try:
            return self.shop.pass_of(client, room) or drawn
        except Refused as refused:
            # A room that lets nobody in by now.
            if refused.status != 409:
                raise
            return drawn

    def room_of_concert(self, value):
        """The room whose pass the list of a concert's dates needs."""
        rooms = [date.room for date in self.dates.values() if date.concert == id_of(value)]
        return rooms[0] if rooms else "main"

    def room_of_performance(self, value):
        date = self.dates.get(id_of(value))
        return date.room if date else self.room

    # --- bodies

    def mend_new_date(self, body):
        """A room that exists, and at most 100,000 seats together."""
        seats = body.get("seats")
        sections = seats.get("sections") if isinstance(seats, dict) else None
        if isinstance(sections, list) and 1 <= len(sections) <= 100:
            mend_sections(sections)
        room = body.get("room")
        # A room that can't be one stays.
        if client_of(room) is not None:
            body["room"] = "main" if one_of(4, room) else self.room

    def mend_reservation(self, body):
        """Seats that exist, and now and then one that is free. Returns the client, or None where it is wrong."""
        client = client_of(body.get("userId"))
        one, several = body.get("seatId"), body.get("seatIds")
        wanted = [one] if several is None else several
        if client is None or id_of(body.get("concertDetailId")) is None or (one is None) == (several is None):
            return None
        if not are_seats(wanted):
            return None
        body["concertDetailId"] = self.performance(body["concertDetailId"])
        date = self.dates.get(id_of(body["concertDetailId"]))
        seats = [id_of(seat, MOST_SEATS) for seat in wanted]
        if date:
            seats = [(seat - 1) % date.seats + 1 for seat in seats]
            if not all(date.holders.get(seat) == client for seat in seats) and not one_of(4, body):
                free = date.free_seats()
                seats = [next(free, seat) if seat in date.holders else seat for seat in seats]
        # In the end none twice. A string stays one.
        seats = list(dict.fromkeys(seats))
        seats = [str(seat) if isinstance(wanted[0], str) else seat for seat in seats]
        body.update({"seatId": seats[0]} if several is None else {"seatIds": seats})
        return client

    def mend_payment(self, body):
        """A hold, its client, its price, and mostly enough points. Returns the client, or None where it is wrong."""
        reservation, points = body.get("reservationId"), whole(body.get("point"))
        is_one = isinstance(reservation, str) and len(reservation) <= 64 and RESERVATION.fullmatch(reservation)
        if client_of(body.get("userId")) is None or not is_one or points is None or not 0 <= points <= 10**15:
            return None
        if reservation not in self.reservations and not one_of(4, body):
            _, held = self.fresh_hold()
            body["reservationId"] = held["reservationId"]
        known = self.reservations.get(body["reservationId"])
        if known:
            _, client, price = known
            body["point"] = price
            # Now and then somebody else's.
            if not one_of(8, body):
                body["userId"] = client
            if 0 < price <= MOST_POINTS and not one_of(4, reservation, points):
                self.shop.charge(client, price)
        return client_of(body["userId"])


def mend_sections(sections):
    """Fewer rows and seats, so that all together are few enough."""
    sizes = [(section.get("rows"), section.get("seatsPerRow")) for section in sections if isinstance(section, dict)]
    whole_sizes = [(whole(rows), whole(seats)) for rows, seats in sizes]
    # Wrong on purpose: leave it so.
    if len(sizes) < len(sections) or any(id_of(size, MOST_SEATS) is None for pair in sizes for size in pair):
        return
    if sum(rows * seats for rows, seats in whole_sizes if rows and seats) > MOST_SEATS:
        for section in sections:
            section["rows"] = min(whole(section["rows"]), 25)
            section["seatsPerRow"] = min(whole(section["seatsPerRow"]), 40)


def are_seats(values):
    """Whether these are seats as they may be asked for: none twice, as far as the document can say so."""
    if not isinstance(values, list) or not 1 <= len(values) <= 1000:
        return False
    if any(id_of(value, MOST_SEATS) is None for value in values):
        return False
    return len({value if isinstance(value, str) else whole(value) for value in values}) == len(values)
