"""Things that an OpenAPI document can't say, so that every check of schemathesis can stay on.

1. What a valid sale is: it opens before it closes, and both are in the years 2000 to 9999 in UTC. Values that are fine
   one by one are put in that order. Every other sale is also made to be on offer now, or hardly any claim that
   schemathesis makes would be accepted, and no order ever looked at.
2. That a sale's room has to exist, and that a room's ordering never changes from or to `random`: a sale gets `main` or
   no room, a change leaves the ordering alone.
3. That DELETE cancels an order and doesn't remove it: GET shows it from then on, as `cancelled`; and that a client that
   left a room is remembered, as `FINISHED`.
4. That seats are held with a pass and paid at their price: what the calls about concerts need is made beforehand, by
   stage.py.
"""

import functools
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import schemathesis
from schemathesis.openapi.checks import UseAfterFree

sys.path.insert(0, str(Path(__file__).parent))
from stage import Stage, client_of  # noqa: E402

stage = functools.cache(Stage)

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


def give_ids_that_exist(case):
    ids = case.path_parameters
    if "concertId" in ids:
        ids["concertId"] = stage().concert(ids["concertId"])
    if "concertDetailId" in ids:
        ids["concertDetailId"] = stage().performance(ids["concertDetailId"])
    if case.operation.label in ("DELETE /api/reservations/{id}", "GET /api/reservations/{id}"):
        ids["id"] = stage().reservation(ids["id"])


def give_a_pass(case, client, room):
    # One that is missing on purpose stays so.
    if "token" in case.headers:
        case.headers["token"] = stage().pass_for(case.headers["token"], client, room)


@schemathesis.hook
def before_call(context, case, kwargs):
    give_ids_that_exist(case)
    if case.operation.label == "GET /api/concert/{concertId}/date":
        give_a_pass(case, "visitor", stage().room_of_concert(case.path_parameters["concertId"]))
    if case.operation.label == "GET /api/concert/{concertDetailId}/seat":
        give_a_pass(case, "visitor", stage().room_of_performance(case.path_parameters["concertDetailId"]))
    body = case.body
    if not isinstance(body, dict):
        return
    if case.operation.label == "POST /api/sales" and ON_OFFER.keys() <= body.keys():
        put_in_order(body)
        give_a_room_that_exists(body)
    if case.operation.label == "PATCH /api/rooms/{id}" and body.get("ordering") in ORDERINGS:
        del body["ordering"]
    if case.operation.label == "POST /api/concerts/{concertId}/dates":
        starts = body.get("startsAt")
        if isinstance(starts, str) and TIME.fullmatch(starts) and not moment(starts):
            body["startsAt"] = "2099-12-31T20:00:00Z"
        stage().mend_new_date(body)
    if case.operation.label == "POST /api/reservations":
        client = stage().mend_reservation(body)
        if client:
            give_a_pass(case, client, stage().room_of_performance(body["concertDetailId"]))
    if case.operation.label == "POST /api/payment":
        client = stage().mend_payment(body)
        if client:
            give_a_pass(case, client, stage().room_of_performance(body["reservationId"].split("-")[0]))


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code != 201:
        return
    if case.operation.label == "POST /api/concerts":
        stage().concerts.add(response.json()["result"]["concertId"])
    if case.operation.label == "POST /api/concerts/{concertId}/dates":
        stage().created_date(response.json()["result"])
    if case.operation.label == "POST /api/reservations":
        stage().created_hold(client_of(case.body["userId"]), response.json()["result"])


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it stays a failure. A cancelled order that isn't shown so does, and a place that isn't finished."""
    if isinstance(failure, UseAfterFree) and case.operation.label == "GET /api/users/{userId}/token":
        return response.json()["result"]["status"] != "FINISHED"
    if isinstance(failure, UseAfterFree) and case.operation.label == "GET /api/orders/{order}":
        return response.json()["result"]["status"] != "cancelled"
    return True
