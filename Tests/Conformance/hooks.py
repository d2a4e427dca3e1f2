"""Two things that an OpenAPI document can't say, so that every check of schemathesis can stay on.

1. What a valid sale is: it opens before it closes, and both are in the years 2000 to 9999 in UTC. Values that are fine
   one by one are put in that order. Every other sale is also made to be on offer now, or hardly any claim that
   schemathesis makes would be accepted, and no order ever looked at.
2. That DELETE cancels an order and doesn't remove it: GET shows it from then on, as `cancelled`.
"""

import re
from datetime import datetime, timedelta, timezone

import schemathesis
from schemathesis.openapi.checks import UseAfterFree

TIME = re.compile(r"[2-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ON_OFFER = {"opensAt": "2020-01-01T00:00:00Z", "closesAt": "9999-01-01T00:00:00Z"}


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


@schemathesis.hook
def before_call(context, case, kwargs):
    sale = case.body
    if case.operation.label == "POST /api/sales" and isinstance(sale, dict) and ON_OFFER.keys() <= sale.keys():
        put_in_order(sale)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it stays a failure. A cancelled order that isn't shown as cancelled does."""
    if isinstance(failure, UseAfterFree) and case.operation.label == "GET /api/orders/{order}":
        return response.json()["result"]["status"] != "cancelled"
    return True
