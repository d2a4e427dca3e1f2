#!/bin/sh
# Ten minutes of rushes, restarts and reconnects in a loop, beside a server that lives through all of it: its memory at the end
# has to be what it was after the first minute, within 5 %, and none of its descriptors may be left open.
#
#   SECONDS_IN_ALL   how long (600)
#   DIBS_SOAK_BINARY the folder of dibs and rush; without it a release build is made
set -eu

cd "$(dirname -- "$0")/.."
seconds=${SECONDS_IN_ALL:-600}
folder=${DIBS_SOAK_BINARY:-}
if [ -z "$folder" ]; then
    scripts/require-swift.sh
    swift build -c release --product dibs
    swift build -c release --product rush
    folder=$(swift build -c release --show-bin-path)
fi
# shellcheck disable=SC3045 # dash has it
ulimit -n "$(ulimit -H -n)"

# In /tmp whatever TMPDIR says: the names of Unix sockets must stay short.
work=$(mktemp -d /tmp/dibs-soak-XXXXXX)
chmod 711 "$work"
lasting=
passing=
cleanup() {
    for process in $lasting $passing; do kill -TERM "$process" 2>/dev/null || true; done
    for process in $lasting $passing; do wait "$process" 2>/dev/null || true; done
    DIBS_SERVICES_THROWAWAY=1 scripts/services.sh remove "$work/services" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

DIBS_SERVICES_THROWAWAY=1 scripts/services.sh start "$work/services"
for pair in $(scripts/services.sh urls "$work/services"); do
    # shellcheck disable=SC2163 # its value is NAME=value
    export "$pair"
done
unset DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET DIBS_WORKERS DIBS_ROLES
data=$work/services
. scripts/keys.sh
export DIBS_RATE_LIMIT=off DIBS_WEB_ROOT="$PWD/web-static"

# Starts a server on a free port and waits until it is ready; sets `server` and `port`.
start() { # log
    env -u DIBS_SOAK_BINARY DIBS_LISTEN=127.0.0.1:"${2:-0}" "$folder/dibs" serve >"$1" 2>&1 </dev/null &
    server=$!
    while kill -0 "$server" 2>/dev/null; do
        port=$(sed -n 's/.*"event":"listening".*"port":\([0-9]*\).*/\1/p' "$1" | tail -n 1)
        if [ -n "$port" ] && curl -fsS -o /dev/null -m 5 "http://127.0.0.1:$port/readyz" 2>/dev/null; then return; fi
        sleep 0.1
    done
    tail -n 20 "$1"
    exit 1
}

# Closes what was on sale, as sales end: 5 KB each of a process that goes on selling are no leak.
close_sales() { # port
    printf 'header = "Authorization: Bearer %s"\n' "$DIBS_ADMIN_KEY" >"$work/curl"
    curl -fsS -m 10 "http://127.0.0.1:$1/api/sales?limit=20" | grep -o '"id": *[0-9]*,[^{}]*"status": *"[a-z_]*"' |
        sed -n 's/^"id": *\([0-9]*\),.*"\(open\|sold_out\)"$/\1/p' |
        while read -r sale; do
            curl -fsS -m 10 -o /dev/null -K "$work/curl" -X POST "http://127.0.0.1:$1/api/sales/$sale/close"
        done
}

# Kilobytes that only this process has, and how many descriptors.
memory() { sed -n 's/^Private_Dirty: *\([0-9]*\) kB/\1/p' "/proc/$1/smaps_rollup"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

start "$work/lasting.log"
lasting=$server
lasting_port=$port
start "$work/passing.log"
passing=$server
passing_port=$port

began=$(date +%s)
round=0
first=
first_descriptors=
echo "seconds  rounds  memory KB  descriptors"
while :; do
    round=$((round + 1))
    both=http://127.0.0.1:$lasting_port,http://127.0.0.1:$passing_port
    case $((round % 4)) in
    0) set -- --buyers 2000 --quantity 500 --claims 2 --watchers 200 ;;
    1) set -- --buyers 1000 --quantity 300 --room "soak-$((round % 8))" --max-active 200 --vanish 10 --return 10 --leave 5 --grace-seconds 1 ;;
    2) set -- --seats 400 --buyers 1000 --think 0.2 --pay 70 --hold-seconds 5 --poll 20 ;;
    3) set -- --buyers 1500 --quantity 1500 --price 1 ;;
    esac
    "$folder/rush" --instances "$both" --timeout 60 "$@" >"$work/rush.log" 2>&1 || {
        echo "a rush was told what is not true, or could not be done: $*"
        tail -n 30 "$work/rush.log"
        exit 1
    }
    close_sales "$lasting_port"
    # The other one is killed, or restarted in order; it comes back on its port.
    if [ $((round % 2)) = 0 ]; then kill -KILL "$passing"; else kill -TERM "$passing"; fi
    wait "$passing" 2>/dev/null || true
    start "$work/passing.log" "$passing_port"
    passing=$server
    : >"$work/lasting.log"
    elapsed=$(($(date +%s) - began))
    now=$(memory "$lasting")
    open=$(descriptors "$lasting")
    echo "$elapsed  $round  $now  $open"
    # A whole turn of the kinds of rushes is compared with a whole turn.
    if [ $((round % 4)) = 0 ]; then
        if [ -z "$first" ] && [ "$elapsed" -ge 60 ]; then
            first=$now
            first_descriptors=$open
        fi
        [ "$elapsed" -lt "$seconds" ] || break
    fi
done
echo "memory: $first KB after the first minute, $now KB at the end; descriptors: $first_descriptors, $open"
[ $((now * 100)) -le $((first * 105)) ] && [ "$open" -le $((first_descriptors + 2)) ]
