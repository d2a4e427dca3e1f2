#!/bin/sh
# Runs schemathesis with all its checks against a running server. Exit code 0: it found nothing.
#
#   DIBS_URL=http://127.0.0.1:8080 DIBS_ADMIN_KEY=… Tests/Conformance/schemathesis.sh [more options of `st run`]
#
# The server should run with DIBS_RATE_LIMIT=off. `st` must be installed (pip install -r requirements.txt), or named:
#   SCHEMATHESIS           the command                                 (st)
#   SCHEMATHESIS_SECONDS   how long, all phases together               (90)
#   SCHEMATHESIS_EXAMPLES  generated cases per call and round          (50)
#   SCHEMATHESIS_SEED      the same seed draws the same cases          (20261120)
#   SCHEMATHESIS_REPORT    a directory for a JUnit report              (none)
set -eu

: "${DIBS_URL:?the URL of a running server, like http://127.0.0.1:8080}"
: "${DIBS_ADMIN_KEY:?the admin key of that server}"
export DIBS_URL DIBS_ADMIN_KEY

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
seconds=${SCHEMATHESIS_SECONDS:-90}
SCHEMATHESIS_HOOKS=$here/hooks.py
export SCHEMATHESIS_HOOKS PYTHONDONTWRITEBYTECODE=1

# It writes what it learnt and what failed into the directory it runs in.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
if [ -n "${SCHEMATHESIS_REPORT:-}" ]; then
    mkdir -p "$SCHEMATHESIS_REPORT"
    report=$(CDPATH='' cd -- "$SCHEMATHESIS_REPORT" && pwd)
    set -- --report junit --report-dir "$report" "$@"
fi
cd "$scratch"

# --max-time bounds the drawing of cases; `timeout` is for a server that hangs, and makes that a failure.
timeout --kill-after=10 "$((seconds + 120))" \
    "${SCHEMATHESIS:-st}" --config-file "$here/schemathesis.toml" run "$here/../../docs/openapi.yaml" \
    --url "$DIBS_URL" --wait-for-schema 10 \
    --checks all \
    --max-time "$seconds" --max-examples "${SCHEMATHESIS_EXAMPLES:-50}" \
    --seed "${SCHEMATHESIS_SEED:-20261120}" --generation-database none \
    --request-timeout 10 --continue-on-failure --no-color "$@"
