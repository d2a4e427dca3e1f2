#!/bin/sh
# Holds the WebSocket to RFC 6455, case by case (rfc6455.py). Exit code 0: every case ended as it has to.
#
#   DIBS_URL=http://127.0.0.1:8080 Tests/Conformance/rfc6455.sh
#
# Needs what requirements.txt lists, and the echo server of a debug build (swift build): ECHO_SERVER names another one.
set -eu

: "${DIBS_URL:?the URL of a running server, like http://127.0.0.1:8080}"
export DIBS_URL PYTHONDONTWRITEBYTECODE=1

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# It says its address as soon as it listens: the reading waits for that.
mkfifo "$work/address"
"${ECHO_SERVER:-$here/../../.build/debug/echo-server}" >"$work/address" </dev/null &
server=$!
read -r ECHO_URL <"$work/address"
export ECHO_URL
python3 "$here/rfc6455.py"
