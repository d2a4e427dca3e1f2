#!/bin/sh
# Runs the built Swift tests. Tests that did not pass are run once more, a few at a time: many wait for real processes
# to do something within a bound, and a machine that others use as well may miss it. What does not pass twice has
# failed, and what was run twice is named, so that a test that often needs it is seen.
#
# Each of the two runs may take DIBS_SWIFT_TEST_SECONDS (330). When one hangs, or crashes, it is said which tests had
# not ended, and the other run leaves out what had passed. DIBS_SWIFT_TEST_FILTER is a pattern of tests, by default all;
# arguments are for `swift test`.
set -eu

cd "$(dirname -- "$0")/.."
seconds=${DIBS_SWIFT_TEST_SECONDS:-330}
log=$(mktemp)
running=
trap 'rm -f "$log"' EXIT
# `timeout` passes the signal on to all that it started; it is in a group of its own, so nobody else would.
trap '[ -z "$running" ] || kill -TERM "$running" 2>/dev/null || true; exit 143' INT TERM HUP

# `swift test` that is ended leaves its tests behind, in a group of their own; they would take the second run's time.
end_orphans() {
    for program in /proc/[0-9]*/exe; do
        case $(readlink "$program" 2>/dev/null || true) in
        "$(pwd -P)"/.build/*/dibsPackageTests.xctest) ;;
        *) continue ;;
        esac
        process=${program#/proc/}
        process=${process%/exe}
        ! grep -q '^PPid:.1$' "/proc/$process/status" 2>/dev/null || kill -KILL "$process" 2>/dev/null || true
    done
}

# Swift Testing starts all tests at once; with a Redis, a PostgreSQL and several servers for many of them, two cores would
# miss every bound.
run() { # width, arguments…
    width=$1
    shift
    status=0
    SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$width timeout --kill-after=10 "$seconds" \
        swift test --skip-build --parallel "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    grep -av '^◇' "$log" | grep -avE '^✔ Test .* with|^✔ Test case' || true
    case $status in
    0) ;;
    124 | 137)
        end_orphans
        echo "── the run was ended after $seconds s; what had not ended by then: $(listed unended)"
        ;;
    *) [ -z "$(listed unended)" ] || echo "── the run crashed; what had not ended by then: $(listed unended)" ;;
    esac
    return "$status"
}

# The names of tests, as alternatives of a pattern: those that were begun and have not passed, or have not ended at all.
# Of one name there may be several. An argument may hold a line break, or its half: so anywhere in a line.
listed() { # unpassed or unended
    grep -aoE '(◇|✔|✘|➜) Test [A-Za-z0-9_]+\([^)]*\)( with [0-9]+ test cases?)? (started|passed|failed|skipped)' "$log" |
        awk -v which="$1" '{
            name = $3
            sub(/\(.*/, "", name)
            if ($NF == "started") open[name]++
            else if (which == "unended" || $NF != "failed") open[name]--
        } END { for (name in open) if (open[name] > 0) print name }' | sort | paste -sd '|' -
}

width=${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-8}
run "$width" ${DIBS_SWIFT_TEST_FILTER:+--filter "$DIBS_SWIFT_TEST_FILTER"} "$@" && exit 0
again=$(listed unpassed)
if [ -n "$again" ]; then
    echo "── run once more: $again"
    # When one hung, there may be many, and most of them only waited for their turn.
    width=2
    [ "$status" -ne 124 ] || width=4
    run "$width" --filter "[./]($again)\\(" "$@"
else
    # It ended before any test had begun, or all had passed and something else was wrong.
    echo "── nobody knows what failed; all run once more"
    run 4 ${DIBS_SWIFT_TEST_FILTER:+--filter "$DIBS_SWIFT_TEST_FILTER"} "$@"
fi
