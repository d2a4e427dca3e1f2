#!/bin/sh
# Breaks things under load, round after round, and compares what every client was told with what is true. Status 0 only when
# no promise was broken. docs/reliability.md says how it works, and how to repeat a round.
#
#   ROUNDS      how many (100)
#   SEED        what everything random follows from; with ROUNDS=1 the round that has this seed
#   CLIENTS     clients of a round (2000)
#   FAULTS      what may go wrong: kinds and groups, `-loss` leaves a group out (all)
#   REPORT      where to write the table
#   CHECKER=1   instead: shows that the checker finds the server's deliberate bugs
#   CONFIGURATION  release, or debug, which deliberate bugs need
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

configuration=${CONFIGURATION:-release}
[ "${CHECKER:-}" != 1 ] || configuration=debug
swift build -c "$configuration" --product dibs
swift build -c "$configuration" --product chaos

export ROUNDS="${ROUNDS:-100}" CLIENTS="${CLIENTS:-2000}" KEEP="${KEEP:-$root/.data/chaos}"
# Each client is a connection at both ends, and both processes are this shell's children.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
exec ".build/$configuration/chaos"
