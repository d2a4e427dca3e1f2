"""Things that an OpenAPI document can't say, so that every check of schemathesis can stay on.

1. What a valid sale is: it opens before it closes, and both are in the years 2000 to 9999 in UTC. Values that are fine
   one by one are put in that order. Every other sale is also made to be on offer now, or hardly any claim that
   schemathesis makes would be accepted, and no order ever looked at.
2. That a sale's room has to exist, and that a room's ordering never changes from or to `random`: a sale gets `main` or
   no room, a change leaves the ordering alone.
3. That DELETE cancels an order and doesn't remove it: GET shows it from then on, as `cancelled`; and that a client that
   left a room is remembered, as `FINISHED`.
"""

import re
from datetime import datetime, timedelta, timezone

import schemathesis
from schemathesis.openapi.checks import UseAfterFree

TIME = re.compile(r"[2-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ON_OFFER = {"opensAt": "2020-01-01T00:00:00Z", "closesAt": "9999-01-01T00:00:00Z"}


ROOM = re.compile(r"[A-Za-z0-9._:-]{1,64}")
ORDERINGS = ["fifo", "random", "passthrough", "reject"]


def moment(text):
    """The instant in UTC, or None where it has none."""
    try:
        instant = datetime.fromisoformat(text).astimezone(timezone.utc)
        return instant if instant.year >= 2000 else None
    except (ValueError, OverflowError):
        return None


def put_in_order(sale):
    times = sale["opensAt"], sale["closesAt"]
    if not all(isinstance(time, str) and TIME.fullmatch(time) for time in times):
        return  # Wrong on purpose: leave it so.
    opens, closes = map(moment, times)
    quantity = sale.get("quantity")
    for_now = isinstance(quantity, int) and quantity % 2 == 0
    if for_now or not opens or not closes or abs(closes - opens) < timedelta(seconds=1):
        sale.update(ON_OFFER)
    elif closes < opens:
        sale["closesAt"], sale["opensAt"] = times


def give_a_room_that_exists(sale):
    room = sale.get("room")
    # JSON's 5.0 is a whole number.
    if isinstance(room, float) and room.is_integer():
        room = int(room)
    is_room = isinstance(room, str) and ROOM.fullmatch(room)
    if is_room or (isinstance(room, int) and not isinstance(room, bool) and 0 <= room < 1 << 53):
        # Every other one: claims of a sale with a room need a pass first.
        sale["room"] = "main" if len(str(room)) % 2 else None


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    if case.operation.label == "POST /api/sales" and ON_OFFER.keys() <= body.keys():
        put_in_order(body)
        give_a_room_that_exists(body)
    if case.operation.label == "PATCH /api/rooms/{id}" and body.get("ordering") in ORDERINGS:
        del body["ordering"]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it stays a failure. A cancelled order that isn't shown so does, and a place that isn't finished."""
    if isinstance(failure, UseAfterFree) and case.operation.label == "GET /api/users/{userId}/token":
        return response.json()["result"]["status"] != "FINISHED"
    if isinstance(failure, UseAfterFree) and case.operation.label == "GET /api/orders/{order}":
        return response.json()["result"]["status"] != "cancelled"
    return True
