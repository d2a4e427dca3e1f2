#!/bin/sh
# Autobahn's test suite against our gateway: every case but those of compression, which isn't offered. Status 0 when no
# case ended worse than Tests/Conformance/autobahn-expected.txt has it.
#
# The suite is a package for Python 2.7, found as python2.7 on the PATH or in pyenv's versions. It is installed into an
# environment of its own in .data.
set -eu

cd "$(dirname -- "$0")/.."
environment=.data/autobahn

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

python=
for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python "$(command -v python2.7 || true)"; do
    # pyenv's python2.7 may be a name without a Python behind it.
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; assert sys.version_info[:2] == (2, 7)' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Autobahn's test suite wants Python 2.7, and there is none: neither python2.7 on the PATH nor in pyenv's versions."
    exit 1
fi

if [ ! -e "$environment/complete" ]; then
    rm -rf "$environment"
    mkdir -p .data
    # 20.15 is the last that speaks Python 2.7. Not into the Python that was found: it is somebody's.
    "$python" -m pip install --quiet --disable-pip-version-check --target "$environment/tools" 'virtualenv<20.16'
    PYTHONPATH=$environment/tools "$python" -m virtualenv --quiet "$environment/python"
    "$environment/python/bin/pip" install --quiet --disable-pip-version-check \
        --requirement Tests/Conformance/autobahn-requirements.txt
    : >"$environment/complete"
fi

swift build --product echo-server

work=$(mktemp -d)
server=
suite=
cleanup() {
    [ -z "$suite" ] || kill -TERM "$suite" 2>/dev/null || true
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# It says its address as soon as it listens: the reading waits for that.
mkfifo "$work/address"
.build/debug/echo-server >"$work/address" </dev/null &
server=$!
read -r url <"$work/address"
cat >"$work/suite.json" <<EOF
{"outdir": "$work/reports", "servers": [{"agent": "dibs", "url": "$url"}],
 "cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
EOF
echo "Autobahn's suite runs, a minute or two."
timeout --kill-after=10 900 "$environment/python/bin/wstest" -m fuzzingclient -s "$work/suite.json" \
    >"$work/log" 2>&1 </dev/null &
suite=$!
wait "$suite" || { tail -n 30 "$work/log"; exit 1; }
suite=
# The server has outlived it all.
kill -0 "$server" || { echo "the echo server is gone"; exit 1; }
python3 Tests/Conformance/autobahn.py "$work/reports" Tests/Conformance/autobahn-expected.txt
