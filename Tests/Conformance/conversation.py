"""What the frames of a connection say together, which no schema of a single frame can hold.

1. An answer, which carries the `id` of what was sent, is of a type that may answer it.
2. Outcomes come in order, each once: their offsets rise by one.
3. The first that a watcher hears of a performance is every seat. From then on the changes that it is told lead to the
   counts that come with them, and `seq` never falls.
"""

STATUSES = {"f": "free", "h": "held", "s": "sold"}


class Conversations:
    """The conversations of a recording, by connection."""

    def __init__(self, replies):
        self.replies = replies
        self.by_connection = {}

    def wrong_with(self, connection, direction, frame):
        """What is wrong with a frame after all those before it, or None."""
        conversation = self.by_connection.setdefault(connection, Conversation(self.replies))
        return conversation.sent(frame) if direction == "in" else conversation.heard(frame)


class Conversation:
    def __init__(self, replies):
        self.replies = replies
        self.asked = {}
        self.offset = None
        self.maps = {}

    def sent(self, frame):
        """A client's frame. There is nothing wrong with it that its schema doesn't say."""
        if "id" in frame:
            self.asked[repr(frame["id"])] = frame["type"]
        if frame["type"] == "watch" and "performance" in frame:
            self.maps.setdefault(str(frame["performance"]), SeatMap())
        return None

    def heard(self, frame):
        return self.wrong_answer(frame) or self.wrong_offset(frame) or self.wrong_seats(frame)

    def wrong_answer(self, frame):
        if "id" not in frame:
            return None
        asked = self.asked.get(repr(frame["id"]))
        if asked is None:
            return f"nothing was sent with the id {frame['id']!r}"
        if frame["type"] not in self.replies[asked]:
            return f"{frame['type']!r} can't answer {asked!r}"
        return None

    def wrong_offset(self, frame):
        # The offset of `connected` is where the log stands, which what is replayed hasn't reached yet.
        if "offset" not in frame or frame["type"] == "connected":
            return None
        before, self.offset = self.offset, frame["offset"]
        if before is not None and frame["offset"] != before + 1:
            return f"the offset {frame['offset']} comes after {before}"
        return None

    def wrong_seats(self, frame):
        if frame["type"] != "seats":
            return None
        seats = self.maps.get(str(frame["performance"]))
        if seats is None:
            return f"performance {frame['performance']} is not watched"
        if self.asked.get(repr(frame.get("id"))) == "unwatch":
            return None
        return seats.wrong_with(frame)


class SeatMap:
    """The seats of a performance, as a watcher knows them."""

    def __init__(self):
        self.statuses = {}
        self.seq = None

    def wrong_with(self, frame):
        count = frame["remaining"] + frame["held"] + frame["sold"]
        if "letters" in frame:
            told = {seat: STATUSES[letter] for seat, letter in enumerate(frame["letters"], 1)}
        else:
            told = {change["seatId"]: change["status"] for change in frame["changes"]}
            if len(told) != len(frame["changes"]):
                return "a seat comes twice"
        is_first = self.seq is None
        if ("letters" in frame or is_first) and told.keys() != set(range(1, count + 1)):
            return f"not every one of the {count} seats"
        # Whoever watches again is told everything again; a push says something new.
        if not is_first and frame["seq"] < self.seq:
            return f"the seq {frame['seq']} comes after {self.seq}"
        self.seq = frame["seq"]
        self.statuses |= told
        known = list(self.statuses.values())
        counts = {status: known.count(status) for status in STATUSES.values()}
        if counts != {"free": frame["remaining"], "held": frame["held"], "sold": frame["sold"]}:
            return f"the changes lead to {counts}"
        return None
