#!/bin/sh
# Measures Dibs beside its yardsticks, in the same run on the same machine. One JSON object a line.
#
#   scripts/bench.sh [--quick]
set -eu

cd "$(dirname -- "$0")/.."
seconds=10
sockets=10000
case ${1:-} in
'') ;;
--quick) seconds=3 sockets=2000 ;;
*)
    sed -n '2,/^set/{/^#/!q;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 64
    ;;
esac

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
make --silent -C bench
# One descriptor per connection and end, and some more.
# shellcheck disable=SC3045 # dash has it
ulimit -n "$(ulimit -H -n)"

bench/build/send_loop --sockets "$sockets" --seconds "$seconds"
