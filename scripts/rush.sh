#!/bin/sh
# Sends simulated buyers to the server that `make run` started.
#
#   scripts/rush.sh [options of rush]       (--help lists them)
#   DIBS_URL                                (http:// and DIBS_LISTEN, 127.0.0.1:8080)
set -eu

cd "$(dirname -- "$0")/.."
data=${DIBS_DATA:-.data}
DIBS_URL=${DIBS_URL:-http://${DIBS_LISTEN:-127.0.0.1:8080}}
export DIBS_URL

scripts/require-swift.sh
swift build -c release --product rush
if [ ! -s "$data/keys.env" ] && [ -z "${DIBS_ADMIN_KEY:-}" ]; then
    echo "No keys in $data/keys.env and none in DIBS_ADMIN_KEY: start a server with \`make run\` first." >&2
    exit 1
fi
. scripts/keys.sh
# One descriptor per buyer, and some more.
# shellcheck disable=SC3045 # dash has it
ulimit -n "$(ulimit -H -n)"
exec .build/release/rush "$@"
