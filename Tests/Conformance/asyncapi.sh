#!/bin/sh
# Holds a running server's WebSocket to docs/asyncapi.yaml: plays buyers, and checks what was said. Exit code 0: all of
# it is as the document has it, and so are its own examples.
#
#   DIBS_URL=http://127.0.0.1:8080 DIBS_ADMIN_KEY=… Tests/Conformance/asyncapi.sh
#
# Needs what requirements.txt lists (pip install -r requirements.txt).
set -eu

: "${DIBS_URL:?the URL of a running server, like http://127.0.0.1:8080}"
: "${DIBS_ADMIN_KEY:?the admin key of that server}"
export DIBS_URL DIBS_ADMIN_KEY PYTHONDONTWRITEBYTECODE=1

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
recording=$(mktemp)
trap 'rm -f "$recording"' EXIT
trap 'exit 130' INT TERM

python3 "$here/asyncapi_check.py" --examples
python3 "$here/record.py" >"$recording"
python3 "$here/asyncapi_check.py" "$recording" \
    --needs connected,joined,rank,admitted,expired,seats,held,reservation,sale,result,order,left,pong,error
