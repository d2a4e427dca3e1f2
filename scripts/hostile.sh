#!/bin/sh
# Measures well-behaved clients beside each kind of hostile client, and prints the table of docs/threat-model.md.
#
#   scripts/hostile.sh [OPTIONS]    as bench/hostile.py has them: --rounds 3, --only ClaimFlood,Torture, …
#
# A server of its own, with the limits that it has by default, and its Redis and PostgreSQL are started on loopback and
# stopped at the end. Status 0 when no kind makes the 99th percentile more than 1.5 times what it is without.
#   DIBS_HOSTILE_BINARY   the server's program; without it, a release build is made
set -eu

cd "$(dirname -- "$0")/.."
binary=${DIBS_HOSTILE_BINARY:-}
if [ -z "$binary" ]; then
    scripts/require-swift.sh
    swift build -c release --product dibs
    binary=$(swift build -c release --show-bin-path)/dibs
fi
# shellcheck disable=SC3045 # dash has it
ulimit -n "$(ulimit -H -n)"

# In /tmp whatever TMPDIR says: the names of Unix sockets must stay short.
work=$(mktemp -d /tmp/dibs-hostile-XXXXXX)
chmod 711 "$work"
server=
cleanup() {
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    DIBS_SERVICES_THROWAWAY=1 scripts/services.sh remove "$work/services" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The clients have the last core, the server and its services the others: hostile clients would not be on its machine, and
# where they are, the kernel runs them and the server in turns on one core while Redis waits for it.
cores=$(nproc)
server_cores=
[ "$cores" -lt 2 ] || server_cores="taskset -c 0-$((cores - 2))"
# shellcheck disable=SC2086 # words
DIBS_SERVICES_THROWAWAY=1 $server_cores scripts/services.sh start "$work/services"
for pair in $(scripts/services.sh urls "$work/services"); do
    # shellcheck disable=SC2163 # its value is NAME=value
    export "$pair"
done
unset DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET DIBS_WORKERS DIBS_ROLES DIBS_RATE_LIMIT
data=$work/services
. scripts/keys.sh
# shellcheck disable=SC2086 # words
DIBS_LISTEN=127.0.0.1:0 $server_cores "$binary" serve >"$work/log" 2>"$work/errors" &
server=$!
port=
while [ -z "$port" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$work/log" "$work/errors" >&2; exit 1; }
    grep -q '"event":"ready"' "$work/log" || { sleep 0.1; continue; }
    port=$(sed -n 's/.*"event":"listening".*"port":\([0-9]*\).*/\1/p' "$work/log")
    [ -n "$port" ] || port=$(sed -n 's/.*"port":\([0-9]*\).*"event":"listening".*/\1/p' "$work/log")
done
status=0
taskset -c $((cores - 1)) python3 bench/hostile.py run --port "$port" --pid "$server" "$@" || status=$?
kill -0 "$server" 2>/dev/null || { echo "the server has ended" >&2; tail -5 "$work/log" "$work/errors" >&2; status=1; }
exit "$status"
