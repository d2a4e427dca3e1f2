#!/bin/sh
# Runs a good part of the tests with sanitizers of the toolchain, in build directories of their own.
#
#   scripts/test-sanitized.sh [address] [thread] [leak]       all three by default
#
#   address   parsers, engine, persistence, gateway, and the whole server: a use of memory that isn't there
#   thread    the same: two threads at the same memory, of which one writes
#   leak      a short life of the server under load: memory that nobody can reach any more
#
# Slower by a multiple, so bounds are wider: DIBS_SANITIZED_SECONDS (1500) for each run. DIBS_SANITIZED_FILTER chooses
# other tests. Needs some 6 GB of disk for each sanitizer.
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
[ $# -gt 0 ] || set -- address thread leak
seconds=${DIBS_SANITIZED_SECONDS:-1500}
suites='SessionTests|HostileTests|ClaimRouteTests|SaleRouteTests|Room[A-Za-z]*Tests|Seat[A-Za-z]*Tests|OddWatchTests|WholeWayTests'
libraries='ModelTests|EventLoopTests|EngineTests|PersistenceTests|GatewayTests|IdentityTests|FuzzTests'
filter=${DIBS_SANITIZED_FILTER:-^($libraries)\.|^ServerTests\.($suites)}

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

work=$(mktemp -d /tmp/dibs-sanitized-XXXXXX)
chmod 711 "$work"
mkdir -m 1777 "$work/tmp"
server=
cleanup() {
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    [ ! -d "$work/services" ] || scripts/services.sh remove "$work/services" || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The servers that tests start write what they find here, too: a test may not look at how one ended.
reports=$work/reports
mkdir -m 1777 "$reports"
export ASAN_OPTIONS="detect_leaks=0:log_path=$reports/address"
export TSAN_OPTIONS="suppressions=$root/scripts/suppressions-thread.txt:log_path=$reports/thread:second_deadlock_stack=1"
export LSAN_OPTIONS="suppressions=$root/scripts/suppressions-leak.txt:log_path=$reports/leak:print_suppressions=0"

failed=
findings() { # what
    if [ -n "$(find "$reports" -type f -size +0)" ]; then
        failed="$failed $1"
        find "$reports" -type f -size +0 | head -n 5 | xargs head -n 60
    fi
    find "$reports" -type f -delete
}

tests() { # address or thread
    echo "── $1: build"
    swift build --build-tests --sanitize="$1" --scratch-path ".build/$1"
    echo "── $1: tests"
    status=0
    # Few at a time: each is several processes, and slow.
    TMPDIR=$work/tmp SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=3 timeout --kill-after=10 "$seconds" \
        swift test --skip-build --sanitize="$1" --scratch-path ".build/$1" --parallel --filter "$filter" \
        >"$work/$1.log" 2>&1 </dev/null || status=$?
    grep -av '^◇' "$work/$1.log" | grep -avE '^✔ Test .* with|^✔ Test case' | tail -n 60
    [ "$status" -eq 0 ] || failed="$failed $1-tests"
    findings "$1"
}

# A life of the server: it starts, serves a rush, and ends by itself. AddressSanitizer's build has LeakSanitizer in it.
leak() {
    echo "── leak: build"
    swift build --sanitize=address --scratch-path .build/address --product dibs
    swift build --product rush
    DIBS_SERVICES_THROWAWAY=1 scripts/services.sh start "$work/services"
    for url in $(scripts/services.sh urls "$work/services"); do
        # shellcheck disable=SC2163 # its value is NAME=value
        export "$url"
    done
    data=$work/services
    unset DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET
    . scripts/keys.sh
    echo "── leak: a rush"
    ASAN_OPTIONS=detect_leaks=1:log_path=$reports/leak DIBS_RATE_LIMIT=off DIBS_LISTEN=127.0.0.1:0 \
        .build/address/debug/dibs serve >"$work/server.log" 2>&1 </dev/null &
    server=$!
    tries=600
    port=
    until [ -n "$port" ] && curl -fsS -o /dev/null -m 5 "http://127.0.0.1:$port/readyz" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! kill -0 "$server" 2>/dev/null; then
            echo "The server does not get ready. The end of its log:"
            tail -n 20 "$work/server.log"
            exit 1
        fi
        sleep 0.1
        port=$(grep '"event":"listening"' "$work/server.log" | grep -oE '"port": ?[0-9]+' | grep -oE '[0-9]+' | head -n 1)
    done
    DIBS_URL=http://127.0.0.1:$port .build/debug/rush --buyers 200 --quantity 50 ||
        failed="$failed leak-rush"
    kill -TERM "$server"
    status=0
    wait "$server" || status=$?
    server=
    [ "$status" -eq 0 ] || failed="$failed leak-server($status)"
    findings leak
    scripts/services.sh remove "$work/services"
}

for sanitizer in "$@"; do
    case $sanitizer in
    address | thread) tests "$sanitizer" ;;
    leak) leak ;;
    *) echo "no such sanitizer: $sanitizer"; exit 64 ;;
    esac
done
echo "── sanitized: ${failed:+FAILED:}${failed:-nothing found}"
[ -z "$failed" ]
