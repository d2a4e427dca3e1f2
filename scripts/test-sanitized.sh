#!/bin/sh
# Runs the tests with sanitizers of the toolchain, in build directories of their own, and says what came of each part.
#
#   scripts/test-sanitized.sh [address] [thread] [leak]       all three by default
#
#   address   libraries, parsers, and the whole server: a use of memory that isn't there
#   thread    the same: two threads at the same memory, of which one writes
#   leak      a short life of the server under load: memory that nobody can reach any more
#
# Each sanitizer is first tried on a fault made on purpose. The tests run as in `make test`, twice where they do not pass
# (scripts/swift-test.sh), but in parts, and fewer at a time. Bounds of a part's run: DIBS_SANITIZED_SECONDS (900).
# DIBS_SANITIZED_FILTER chooses other tests, as one part. Tests wait DIBS_TEST_PATIENCE times as long as they do else: 3 unless
# it is set. 700 MB of disk for each build.
# All of it only takes what others leave of the processors: where they leave little, tests fail for the time they take.
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
[ $# -gt 0 ] || set -- address thread leak
seconds=${DIBS_SANITIZED_SECONDS:-900}
# SwiftPM gives compilers and tests the usual niceness, whatever its own is; the policy they inherit.
chrt --idle --pid 0 $$
export DIBS_TEST_PATIENCE="${DIBS_TEST_PATIENCE:-3}"
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

# The parts of the tests: a name, how many tests at a time under each of the two, and a pattern. Small enough that each
# ends far within its bound; what no other part names is in the last one, so that no suite is forgotten.
parts() {
    cat <<'PARTS'
values 4 4 ^(ModelTests|IdentityTests|EventLoopTests|FaultTests|FuzzTests)\.
rush 2 2 ^RushTests\.
engine 4 4 ^EngineTests\.
persistence 4 4 ^PersistenceTests\.
gateway 4 4 ^GatewayTests\.
hostile 2 2 ^ServerTests\.(Hostile|Limit|Torture|RateLimit)[A-Za-z]*Tests
rooms 3 2 ^ServerTests\.Room[A-Za-z]*Tests
seats 3 2 ^ServerTests\.(Seat|LostSeat|KnownFault|OddWatch|WholeWay)[A-Za-z]*Tests
outages 3 2 ^ServerTests\.(DatabaseFault|Failover|FaultProxy|KilledInstance|LateRequest|LostWrites|Network|PostgresOutage|ProcessFault|Redis[A-Za-z]*)Tests
server 3 2 ^ServerTests\.
PARTS
}

tests() { # address or thread
    echo "── $1: build"
    swift build --build-tests --sanitize="$1" --scratch-path ".build/$1" --quiet >"$work/build.log" 2>&1 || {
        grep -v "Cannot export local symbol" "$work/build.log" | tail -n 60
        exit 1
    }
    swift test list --skip-build --sanitize="$1" --scratch-path ".build/$1" >"$work/list" 2>/dev/null </dev/null
    if [ -n "${DIBS_SANITIZED_FILTER:-}" ]; then
        part "$1" chosen 2 "$DIBS_SANITIZED_FILTER" "$unfit"
        return
    fi
    parts >"$work/parts"
    named=$unfit
    while read -r name address thread pattern; do
        width=$address
        [ "$1" = address ] || width=$thread
        part "$1" "$name" "$width" "$pattern" "$named"
        case $pattern in *ServerTests*) named="$named|$pattern" ;; esac
    done <"$work/parts"
}

part() { # address or thread, name, how many tests at a time, which, which not
    echo "── $1: $2"
    began=$(date +%s)
    status=0
    log=$work/$1-$2.log
    TMPDIR=$work/tmp SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$3 DIBS_SWIFT_TEST_SECONDS=$seconds \
        DIBS_SWIFT_TEST_FILTER=$4 scripts/swift-test.sh --skip "$5" --sanitize="$1" --scratch-path ".build/$1" \
        >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    leftovers
    tests=$(grep -E "$4" "$work/list" | grep -cvE "$5" || true)
    again=$(sed -n 's/^── run once more: //p' "$log" | tr '|' '\n' | grep -c . || true)
    result=passed
    if [ "$status" -ne 0 ]; then
        result="FAILED ($status)"
        failed="$failed $1-$2"
    fi
    # What failed, in either run, and why.
    grep -aE '^(✘|↳|──)|error:|Fatal' "$log" | grep -avE 'Target Platform|Testing Library|^↳ ///' | cut -c 1-600 | tail -n 60
    count=$(find "$reports" -type f -size +0 | wc -l)
    note "$1" "$2" "$tests" "$again" "$count" "$(($(date +%s) - began))" "$result"
    findings "$1"
}

note() { # sanitizer, part, tests, run twice, reports, seconds, result
    printf '%-8s %-12s %6s %6s %8s %8s  %s\n' "$@" >>"$work/summary"
    tail -n 1 "$work/summary"
}

# A life of the server: it starts, serves rushes at a sale, through a room and for seats, and ends by itself.
# AddressSanitizer's build has LeakSanitizer in it.
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
    echo "── leak: rushes"
    began=$(date +%s)
    before=$failed
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
    rushes=0
    while read -r options; do
        rushes=$((rushes + 1))
        # shellcheck disable=SC2086 # they are several
        DIBS_URL=http://127.0.0.1:$port .build/address/debug/rush $options >"$work/rush.log" 2>&1 </dev/null || {
            failed="$failed leak-rush($rushes)"
            tail -n 40 "$work/rush.log"
        }
    done <<'RUSHES'
--buyers 200 --quantity 50 --watchers 20
--buyers 200 --quantity 50 --room leaks --max-active 20 --leave 10 --vanish 5 --poll 20
--buyers 100 --seats 60 --pair --watch 50 --pay 60 --unpaid release
RUSHES
    kill -TERM "$server"
    status=0
    wait "$server" || status=$?
    server=
    [ "$status" -eq 0 ] || failed="$failed leak-server($status)"
    count=$(find "$reports" -type f -size +0 | wc -l)
    findings leak
    result=passed
    [ "$failed" = "$before" ] || result=FAILED
    note leak rushes "$rushes" 0 "$count" "$(($(date +%s) - began))" "$result"
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
echo "── sanitized"
printf '%-8s %-12s %6s %6s %8s %8s  %s\n' sanitizer part tests twice reports seconds result
cat "$work/summary"
echo "── sanitized: ${failed:+FAILED:}${failed:-nothing found}"
[ -z "$failed" ]
