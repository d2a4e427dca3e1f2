#!/bin/sh
# Builds the parsers with libFuzzer and AddressSanitizer, and looks for inputs that break one.
#
#   scripts/fuzz.sh [SECONDS [PARSER …]]      so long for each parser (60), all of them by default
#
# It begins with Tests/Fuzz/corpus/PARSER. What it learns is kept in .data/fuzz/PARSER and goes on from there the next
# time; an input that breaks a parser is written to .data/fuzz/found. Put it into the corpus when it is mended.
set -eu

cd "$(dirname -- "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

# Optimised, or it would try a tenth of the inputs; with internals visible, as the parsers are. lld, because gold can't
# export what AddressSanitizer's runtime has.
DIBS_FUZZ=1 swift build --configuration release --scratch-path .build/fuzz --product fuzz \
    -Xswiftc -enable-testing -Xswiftc -sanitize=fuzzer,address -Xswiftc -use-ld=lld
fuzz=.build/fuzz/release/fuzz
[ $# -gt 0 ] || set -- $("$fuzz" --list | sed 's/.* one of //')

found=.data/fuzz/found
mkdir -p "$found"
status=0
for parser in "$@"; do
    [ -d "Tests/Fuzz/corpus/$parser" ] || { echo "no such parser: $parser"; exit 64; }
    mkdir -p ".data/fuzz/$parser"
    longest=4096
    # What goes through a socket is slow, and the server's threads are no leak.
    case $parser in http | frames) longest=20000 ;; esac
    echo "── $parser, $seconds s"
    # Swift would unwind the stack itself, which AddressSanitizer then reports.
    SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS} "$fuzz" "$parser" \
        -max_total_time="$seconds" -max_len="$longest" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$found/$parser-" ".data/fuzz/$parser" "Tests/Fuzz/corpus/$parser" \
        >".data/fuzz/$parser.log" 2>&1 </dev/null || {
        status=1
        echo "$parser is BROKEN by:"
        grep -aE 'Fatal error|ERROR: |SUMMARY|Test unit written' ".data/fuzz/$parser.log" || tail -n 20 ".data/fuzz/$parser.log"
    }
    grep -aE '^stat::number_of_executed_units|cov: [0-9]+' ".data/fuzz/$parser.log" | tail -n 2 || true
done
exit "$status"
