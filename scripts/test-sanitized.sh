#!/bin/sh
# Runs a good part of the tests with sanitizers of the toolchain, in build directories of their own.
#
#   scripts/test-sanitized.sh [address] [thread] [leak]       all three by default
#
#   address   libraries, parsers, and the whole server: a use of memory that isn't there
#   thread    the same: two threads at the same memory, of which one writes
#   leak      a short life of the server under load: memory that nobody can reach any more
#
# Each sanitizer is first tried on a fault made on purpose. The tests run as in `make test`, twice where they do not pass
# (scripts/swift-test.sh), but fewer at a time. Bounds of a run: DIBS_SANITIZED_SECONDS (900). DIBS_SANITIZED_FILTER
# chooses other tests. On two cores a build takes 5 to 6 minutes for each of the two, the libraries' tests 2 to 3 and the
# server's about 10; on a machine that is used otherwise as well, far more. 700 MB of disk for each build.
# All of it only takes what others leave of the processors: where they leave little, tests fail for the time they take.
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
[ $# -gt 0 ] || set -- address thread leak
seconds=${DIBS_SANITIZED_SECONDS:-900}
# SwiftPM gives compilers and tests the usual niceness, whatever its own is; the policy they inherit.
chrt --idle --pid 0 $$
libraries='ModelTests|EventLoopTests|EngineTests|PersistenceTests|GatewayTests|IdentityTests|FuzzTests'
suites='SessionTests|HostileTests|ClaimRouteTests|SaleRouteTests|Room[A-Za-z]*Tests|Seat[A-Za-z]*Tests|OddWatchTests|WholeWayTests'
# The first compares the server's memory with what it was: a sanitizer keeps what was freed for a while. The second reads
# 100,000 seats over and over: the test's own loop stands still for so long that the tests beside it miss their bounds.
unfit='[./](aThousandHostileConnectionsLeaveNothingBehind|manyAnswers)\('

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

work=$(mktemp -d /tmp/dibs-sanitized-XXXXXX)
chmod 711 "$work"
mkdir -m 1777 "$work/tmp"
server=
running=
# The tests' process is in a group of its own, so it outlives a `swift test` that is ended. Its servers end with it.
leftovers() {
    for program in /proc/[0-9]*/exe; do
        case $(readlink "$program" 2>/dev/null || true) in
        "$root"/.build/*/dibsPackageTests.xctest) ;;
        *) continue ;;
        esac
        process=${program#/proc/}
        process=${process%/exe}
        ! tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qxF "TMPDIR=$work/tmp" ||
            kill -KILL "$process" 2>/dev/null || true
    done
}
cleanup() {
    [ -z "$running" ] || kill -TERM "$running" 2>/dev/null || true
    leftovers
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    [ ! -d "$work/services" ] || scripts/services.sh remove "$work/services" || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The servers that tests start write what they find here, too: a test may not look at how one ended. A race does not end
# a program, nor change its status.
reports=$work/reports
mkdir -m 1777 "$reports"
export ASAN_OPTIONS="detect_leaks=0:log_path=$reports/address"
export TSAN_OPTIONS="suppressions=$root/scripts/suppressions-thread.txt:log_path=$reports/thread:second_deadlock_stack=1:exitcode=0"
export LSAN_OPTIONS="suppressions=$root/scripts/suppressions-leak.txt:log_path=$reports/leak:print_suppressions=0"

failed=
findings() { # what
    if [ -n "$(find "$reports" -type f -size +0)" ]; then
        failed="$failed $1"
        find "$reports" -type f -size +0 | head -n 5 | xargs head -n 60
    fi
    find "$reports" -type f -delete
}

# A sanitizer that finds nothing has to be one that would.
proof() { # address, thread or leak
    case $1 in
    address) cat >"$work/proof.swift" <<'SWIFT' ;;
let place = UnsafeMutablePointer<Int>.allocate(capacity: 1)
place.initialize(to: 1)
place.deallocate()
print(place.pointee)
SWIFT
    thread) cat >"$work/proof.swift" <<'SWIFT' ;;
import Glibc
let place = UnsafeMutablePointer<Int>.allocate(capacity: 1)
place.initialize(to: 0)
var other = pthread_t()
pthread_create(&other, nil, { $0!.assumingMemoryBound(to: Int.self).pointee = 1; return nil }, place)
place.pointee = 2
pthread_join(other, nil)
SWIFT
    leak) cat >"$work/proof.swift" <<'SWIFT' ;;
func lose() { UnsafeMutablePointer<Int>.allocate(capacity: 1).initialize(to: 1) }
lose()
SWIFT
    esac
    kind=$1
    [ "$1" = thread ] || kind=address
    # The linker warns of names that it can't export.
    swiftc -sanitize="$kind" -o "$work/proof" "$work/proof.swift" >"$work/proof.log" 2>&1 || cat "$work/proof.log"
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=1 "$work/proof" >/dev/null 2>&1 || true
    if [ -z "$(find "$reports" -type f -size +0)" ]; then
        echo "── $1: does not find a fault made on purpose"
        failed="$failed $1-proof"
    fi
    find "$reports" -type f -delete
}

tests() { # address or thread
    echo "── $1: build"
    swift build --build-tests --sanitize="$1" --scratch-path ".build/$1" --quiet
    if [ -n "${DIBS_SANITIZED_FILTER:-}" ]; then
        part "$1" chosen 3 "$DIBS_SANITIZED_FILTER"
    else
        part "$1" libraries 3 "^($libraries)\."
        # Fewer: each is several processes, and slow.
        part "$1" server 2 "^ServerTests\.($suites)"
    fi
}

part() { # address or thread, name, how many tests at a time, which
    echo "── $1: tests, $2"
    began=$(date +%s)
    status=0
    TMPDIR=$work/tmp SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$3 DIBS_SWIFT_TEST_SECONDS=$seconds \
        DIBS_SWIFT_TEST_FILTER=$4 scripts/swift-test.sh --skip "$unfit" --sanitize="$1" --scratch-path ".build/$1" \
        >"$work/$1.log" 2>&1 </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    leftovers
    tail -n 60 "$work/$1.log" | cut -c 1-500
    echo "── $1: tests, $2: status $status, $(($(date +%s) - began)) s"
    [ "$status" -eq 0 ] || failed="$failed $1-$2"
    findings "$1"
}

# A life of the server: it starts, serves a rush, and ends by itself. AddressSanitizer's build has LeakSanitizer in it.
leak() {
    echo "── leak: build"
    swift build --sanitize=address --scratch-path .build/address --product dibs --quiet
    swift build --sanitize=address --scratch-path .build/address --product rush --quiet
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
    DIBS_URL=http://127.0.0.1:$port .build/address/debug/rush --buyers 200 --quantity 50 ||
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
    address | thread)
        proof "$sanitizer"
        tests "$sanitizer"
        ;;
    leak)
        proof leak
        leak
        ;;
    *) echo "no such sanitizer: $sanitizer"; exit 64 ;;
    esac
done
echo "── sanitized: ${failed:+FAILED:}${failed:-nothing found}"
[ -z "$failed" ]
