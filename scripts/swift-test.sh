#!/bin/sh
# Runs the built Swift tests. Tests that fail are run once more, a few at a time: many wait for real processes to do
# something within a bound, and a machine that others use as well may miss it. What fails twice has failed, and what was
# run twice is named, so that a test that often needs it is seen.
set -eu

cd "$(dirname -- "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Swift Testing starts all tests at once; with a Redis, a PostgreSQL and several servers for many of them, two cores would
# miss every bound.
run() { # width, arguments…
    width=$1
    shift
    status=0
    SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$width timeout --kill-after=10 240 \
        swift test --skip-build --parallel "$@" >"$log" 2>&1 || status=$?
    grep -av '^◇' "$log" | grep -avE '^✔ Test .* with|^✔ Test case' || true
    return "$status"
}

run "${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-6}" && exit 0
failed=$(grep -aoE '^✘ Test [A-Za-z0-9_]+\(' "$log" | sed 's/^✘ Test //; s/(//' | sort -u | paste -sd '|' -)
if [ -n "$failed" ] && grep -aq '^✘ Test run with' "$log"; then
    echo "── run once more: $failed"
    run 2 --filter "($failed)\\("
else
    # It crashed or hung: nobody knows what would have failed.
    echo "── the run did not end; all run once more"
    run 4
fi
