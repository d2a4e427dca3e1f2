#!/bin/sh
# Measures Dibs beside its yardsticks, in the same run on the same machine, and writes the tables of
# docs/performance.md.
#
#   scripts/bench.sh [--quick | --all | --plots]
#
#   --quick   only the rows that have a goal, once and short: about a minute
#   --all     what takes long as well (lines of five million, all of 100,000 seats, estimates), and all of it three times
#   --plots   only how cost grows, as docs/plots/*.svg
#
# Everything is started privately and on loopback, and is stopped at the end. The tables go to bench/out/latest.md,
# every single figure to bench/out/latest.tsv, and what the programs said to bench/out/logs.
#
#   DIBS_BENCH_ONLY   measures only what contains this: goal_start, goal_ranks, goal_claims, goal_function, goal_commit,
#                     goal_service, goal_waiting; claims, holds, seating, changes, broadcast, ranks, estimates, line
#   DIBS_BENCH_BINARIES   where `dibs` and `rush` are, instead of building them (.build/release)
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
repetitions=3
quick=
all=
plots=
for option in "$@"; do
    case $option in
    --quick) repetitions=1 quick=yes ;;
    --all) all=yes ;;
    --plots) plots=yes ;;
    *)
        sed -n '2,/^set/{/^#/!q;s/^# \{0,1\}//;p;}' "$0" >&2
        exit 64
        ;;
    esac
done
# Whether what has no goal is measured shortly.
short=yes
[ -z "$all" ] || short=
only=${DIBS_BENCH_ONLY:-}
binaries=${DIBS_BENCH_BINARIES:-}

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
if [ -z "$binaries" ]; then
    scripts/require-swift.sh
    swift build -c release --product dibs
    swift build -c release --product rush
    binaries=$root/.build/release
fi
dibs=$binaries/dibs
rush=$binaries/rush
make --silent -C bench
# One descriptor per connection and end, and some more.
# shellcheck disable=SC3045 # dash has it
ulimit -n "$(ulimit -H -n)"

# In /tmp whatever TMPDIR says: the names of Unix sockets must stay short, and PostgreSQL's user must get there.
work=$(mktemp -d /tmp/dibs-bench-XXXXXX)
chmod 711 "$work"
out=$root/bench/out
rm -rf "$out/logs"
mkdir -p "$out/logs"
figures=$work/figures.tsv
: >"$figures"

server=
committer=
yardstick=
holders=
cleanup() {
    # shellcheck disable=SC2086 # several are meant, or none
    for process in $server $committer $yardstick $holders; do
        kill -TERM "$process" 2>/dev/null || true
    done
    cp -p "$work"/*.log "$out/logs/" 2>/dev/null || true
    scripts/services.sh remove "$work/services" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "bench.sh: $*" >&2
    exit 1
}

# --- What is measured -----------------------------------------------------------------------------------------------

# As `make run` does it: what must survive a power failure waits for the disk.
scripts/services.sh start "$work/services"
urls=$(scripts/services.sh urls "$work/services")
for pair in $urls; do
    # shellcheck disable=SC2163 # its value is NAME=value
    export "$pair"
done
redis_socket=${DIBS_REDIS_URL#unix://}
postgres_sockets=${DIBS_DATABASE_URL##*host=}
unset DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET DIBS_WORKERS DIBS_ROLES DIBS_BENCH_ONLY DIBS_BENCH_BINARIES
data=$work/services
. scripts/keys.sh
# Not on a command line, where everybody could read it.
(umask 077 && echo "Authorization: Bearer $DIBS_ADMIN_KEY" >"$work/authorization" &&
    bench/tokens.py b 16000 >"$work/tokens")
export DIBS_RATE_LIMIT=off DIBS_WEB_ROOT="$root/web-static" DIBS_LOG_LEVEL=warning

"$dibs" migrate >"$work/migrate.log" 2>&1 || fail "dibs migrate fails: $(tail -n 3 "$work/migrate.log")"

# A port that nobody has now; the kernel would give it out last.
free_port() {
    port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 10000))
    while [ -n "$(ss -Hltn "sport = :$port" 2>/dev/null)" ]; do port=$((port + 1)); done
    echo "$port"
}

# What begins the server on a core of its own, where its yardstick has one too; nothing for the most part.
server_core=
first_core=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
last_core=$(taskset -cp $$ | sed 's/.*: //; s/.*[-,]//')
on_first_core="taskset -c $first_core"

# Starts `dibs serve`, and waits until it is ready. Sets server, port and server_url.
start_server() { # roles
    port=$(free_port)
    server_url=http://127.0.0.1:$port
    # shellcheck disable=SC2086 # a command, or nothing
    DIBS_LISTEN=127.0.0.1:$port DIBS_ROLES=${1:-gateway,scheduler,committer} $server_core "$dibs" serve \
        >>"$work/server.log" 2>&1 </dev/null &
    server=$!
    tries=600
    until curl -fsS -o /dev/null -m 2 "$server_url/readyz" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! kill -0 "$server" 2>/dev/null; then
            tail -n 20 "$work/server.log" >&2
            fail "the server does not get ready"
        fi
        sleep 0.05
    done
}

stop_server() {
    [ -n "$server" ] || return 0
    kill -TERM "$server"
    wait "$server" || fail "the server ended with status $?"
    server=
}

stop_yardstick() {
    kill -TERM "$yardstick" 2>/dev/null || true
    wait "$yardstick" 2>/dev/null || true
    yardstick=
}

admin() { # method, path, body
    curl -fsS -m 30 -X "$1" -H @"$work/authorization" -H 'Content-Type: application/json' -d "${3:-}" "$server_url$2"
}

new_sale() { # quantity, price
    answer=$(admin POST /api/sales "{\"name\":\"bench\",\"quantity\":$1,\"price\":${2:-0},
        \"opensAt\":\"2020-01-01T00:00:00Z\",\"closesAt\":\"2099-01-01T00:00:00Z\"}")
    echo "$answer" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p'
}

# So many sales, with so many in each; their ids with commas between.
new_sales() { # how many, quantity
    sales=
    for _ in $(seq "$1"); do sales=${sales:+$sales,}$(new_sale "$2"); done
    echo "$sales"
}

# One that is sold out.
sold_out_sale() {
    sale=$(new_sale 1)
    admin POST "/api/sales/$sale/claims" '{"userId":"first"}' >/dev/null
    echo "$sale"
}

# Runs the load generator; its figures go to $work/rush.json. What it finds untrue ends the run.
rush() { # options…
    "$rush" --instances "$server_url" --timeout 120 --json "$work/rush.json" "$@" \
        >"$work/rush.out" 2>>"$work/rush.log" || {
        cat "$work/rush.out" >&2
        tail -n 5 "$work/rush.log" >&2
        fail "the load generator is not content"
    }
}

# A number of a JSON object in one line, or in the last of several.
figure() { # name, file
    sed -n "s/.*\"$1\":\([-0-9.e+]*\).*/\1/p" "$2" | tail -n 1
}
# A number inside an object of it.
inner() { # object, name, file
    sed -n "s/.*\"$1\":{[^}]*\"$2\":\([-0-9.e+]*\).*/\1/p" "$3"
}

redis() { redis-cli -s "$redis_socket" "$@"; }
sql() { psql -X -q -A -t -h "$postgres_sockets" -U dibs -d dibs -c "$1"; }
resident_bytes() { awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$1/status"; }
calculate() { awk "BEGIN { printf \"%.6g\", $(echo "$1" | tr "\n" " ") }"; }

# One line of the figures: what, ours, the yardstick's, and the generator's own processor time for each in µs. More
# lines of the same are repetitions.
record() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "${3:-}" "${4:-}" "${5:-}" | tee -a "$figures"; }

# Waits until the machine has nothing else to do, but not for long: figures that other work disturbs say little.
busy=0
measurements=0
await_quiet() {
    measurements=$((measurements + 1))
    tries=${quick:+2}
    for _ in $(seq "${tries:-10}"); do
        # Jiffies of all cores since the start: user, nice, system, idle, …
        before=$(sed -n 's/^cpu  //p' /proc/stat)
        sleep 0.2
        after=$(sed -n 's/^cpu  //p' /proc/stat)
        idle=$(echo "$before $after" | awk '{
            half = NF / 2
            for (i = 1; i <= half; i++) all += $(half + i) - $i
            print (all > 0 ? int(100 * ($(half + 4) - $4) / all) : 100)
        }')
        [ "$idle" -lt 85 ] || return 0
    done
    busy=$((busy + 1))
}

wanted() { case $1 in *"$only"*) return 0 ;; *) return 1 ;; esac; }

. bench/rows.sh
. bench/goals.sh
. bench/sweeps.sh

goals='goal_start goal_ranks goal_claims goal_function goal_commit goal_service goal_waiting'
others='claims holds changes broadcast'
lengthy='ranks seating estimates line'

if [ -n "$plots" ]; then
    sweep
    cp "$work/sweeps.tsv" "$out/sweeps.tsv"
    bench/plot.py "$out/sweeps.tsv" docs/plots
    exit
fi

began=$(date +%s)
for repetition in $(seq "$repetitions"); do
    echo "── repetition $repetition of $repetitions"
    rows=$goals
    # Without --all, what has no goal is measured once.
    case $quick-$all-$repetition in -yes-*) rows="$rows $others $lengthy" ;; --1) rows="$rows $others" ;; esac
    for row in $rows; do
        wanted "$row" || continue
        # What hardly varies, and takes long, is measured once.
        case $row-$repetition in *-1) ;; line-* | estimates-* | goal_service-*) continue ;; esac
        await_quiet
        "measure_$row"
    done
done
took=$(($(date +%s) - began))

{
    awk -f bench/table.awk "$figures"
    printf '\nMeasured on %s with %s cores, Redis %s, PostgreSQL %s, in %s s' "$(date -u +%Y-%m-%d)" \
        "$(nproc)" \
        "$(redis INFO server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')" \
        "$(sql 'show server_version' | cut -d " " -f 1)" "$took"
    printf '. Server, load generator, Redis and PostgreSQL share these cores; of %s measurements, %s began while ' \
        "$measurements" "$busy"
    printf 'something else was running.\n'
} >"$work/latest.md"
mv "$work/latest.md" "$out/latest.md"
cp "$figures" "$out/latest.tsv"
cat "$out/latest.md"
