#!/bin/sh
# Builds, and runs every test in a throw-away place: `swift test`, then the page's tests and the conformance tests at the
# same time, each against a throw-away server of their own. Status 0 only when all passed.
#
#   DIBS_TEST_ONLY   runs only the parts whose name contains this: swift, Page/run.sh, Conformance/…
#   DIBS_WERROR      makes warnings of the compiler errors
#   DIBS_BINARY      the server to test, instead of the debug build
set -eu

cd "$(dirname -- "$0")/.."
root=$(pwd -P)
only=${DIBS_TEST_ONLY:-}
data=${DIBS_DATA:-$root/.data}

scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
scripts/require-swift.sh

# --- A place to throw away ------------------------------------------------------------------------------------------

# In /tmp whatever TMPDIR says: the names of Unix sockets must stay short, and PostgreSQL's user must get there.
work=$(mktemp -d /tmp/dibs-test-XXXXXX)
chmod 711 "$work"
mkdir -m 1777 "$work/tmp"
TMPDIR=$work/tmp
export TMPDIR

current=
server=
lanes=
cleanup() {
    # `timeout` passes the signal on to all that the part started.
    [ -z "$current" ] || kill -TERM "$current" 2>/dev/null || true
    for lane in $lanes; do kill -TERM "$lane" 2>/dev/null || true; done
    # They stop their servers.
    for lane in $lanes; do wait "$lane" || true; done
    # Whatever still works in the throw-away place was started by a test that didn't look after it.
    for cwd in /proc/[0-9]*/cwd; do
        case $(readlink "$cwd" 2>/dev/null || true) in
        "$work"/*)
            process=${cwd#/proc/}
            process=${process%/cwd}
            echo "left behind by a test, stopped: $process ($(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null))"
            kill -TERM "$process" 2>/dev/null || true
            ;;
        esac
    done
    rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- Parts ----------------------------------------------------------------------------------------------------------

# How each part ended: a line `passed name`, `failed name` or `skipped name`. Lanes are processes of their own.
results=$work/results
: >"$results"
names() { # passed, failed or skipped
    sed -n "s/^$1 //p" "$results" | paste -sd ' ' -
}

# Runs one part of the tests for at most that long, and notes how it ended.
part() { # name, seconds, command…
    name=$1
    seconds=$2
    shift 2
    case $name in *"$only"*) ;; *) return 0 ;; esac
    echo "── $name"
    began=$(date +%s)
    status=0
    # In the background, so that a signal to this script is dealt with at once.
    timeout --kill-after=10 "$seconds" "$@" </dev/null &
    current=$!
    wait "$current" || status=$?
    current=
    took=$(($(date +%s) - began))
    case $status in
    0)
        echo "passed $name" >>"$results"
        echo "── $name: passed, ${took} s"
        ;;
    124 | 137)
        echo "failed $name" >>"$results"
        echo "── $name: FAILED, not done after $took s"
        ;;
    *)
        echo "failed $name" >>"$results"
        echo "── $name: FAILED with status $status, $took s"
        ;;
    esac
    return "$status"
}

# --- Lanes: suites one after the other, against a throw-away server of their own ------------------------------------

# Lanes run at the same time. What one says is printed when it has all been said, so that they don't mix.
say() { # file
    flock "$work/printing" cat "$1"
}

lane() ( # name, suites…
    lane=$1
    shift
    current=
    trap 'lane_cleanup' EXIT
    trap 'exit 143' INT TERM HUP
    # Appended to, because it is emptied whenever it was printed.
    exec 3>&1 >>"$work/$lane.out" 2>&1
    if start_server "$work/$lane"; then
        for suite in "$@"; do
            # The page took 196 s on two cores with ten times as much to do, without a second chance.
            part "${suite#Tests/}" 420 "$suite" || {
                echo "The end of the server's log:"
                tail -n 15 "$work/$lane.log"
            }
            say "$work/$lane.out" >&3
            : >"$work/$lane.out"
        done
    else
        echo "failed $lane-server" >>"$results"
    fi
    stop_server
    say "$work/$lane.out" >&3
    : >"$work/$lane.out"
)

lane_cleanup() {
    [ -z "$current" ] || kill -TERM "$current" 2>/dev/null || true
    stop_server
    say "$work/$lane.out" >&3
}

start_server() { # folder
    data=$1
    DIBS_SERVICES_THROWAWAY=1 scripts/services.sh start "$data" || return 1
    for url in $(scripts/services.sh urls "$data"); do
        # shellcheck disable=SC2163 # its value is NAME=value
        export "$url"
    done
    unset DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET
    . scripts/keys.sh
    export DIBS_RATE_LIMIT=off DIBS_WEB_ROOT="$root/web-static"
    # Those left out are this script's, not the server's, which warns of what it doesn't know.
    env -u DIBS_BINARY -u DIBS_DATA -u DIBS_TEST_ONLY -u DIBS_WERROR DIBS_LISTEN=127.0.0.1:0 \
        "${DIBS_BINARY:-.build/debug/dibs}" serve >"$data.log" 2>&1 </dev/null 3>&- &
    server=$!
    tries=600
    port=
    while [ "$tries" -gt 0 ] && kill -0 "$server" 2>/dev/null; do
        # The one event that says where it listens.
        port=$(grep -i listening "$data.log" | grep -oE '("port": ?|127\.0\.0\.1:)[1-9][0-9]*' |
            sed 's/.*[^0-9]//' | head -n 1)
        if [ -n "$port" ]; then
            DIBS_URL=http://127.0.0.1:$port
            export DIBS_URL
            ! curl -fsS -o /dev/null -m 5 "$DIBS_URL/readyz" 2>/dev/null || return 0
        fi
        tries=$((tries - 1))
        sleep 0.1
    done
    echo "The server does not get ready. The end of its log:"
    tail -n 30 "$data.log"
    return 1
}

stop_server() {
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        status=0
        wait "$server" || status=$?
        server=
        if [ "$status" -ne 0 ]; then
            echo "failed $lane-server" >>"$results"
            echo "── the server of $lane ended with status $status. The end of its log:"
            tail -n 30 "$work/$lane.log"
        fi
    fi
    [ ! -d "$work/$lane" ] || scripts/services.sh remove "$work/$lane"
}

# Python packages in an environment of their own, made again only when the lists change.
python_packages() {
    lists=$(find Tests/Page Tests/Conformance -name requirements.txt 2>/dev/null | sort)
    [ -n "$lists" ] || return 0
    # shellcheck disable=SC2086 # several files are meant
    environment=$root/.data/python-$(cat $lists | sha256sum | cut -c 1-12)
    if [ ! -e "$environment/complete" ]; then
        rm -rf "$environment"
        mkdir -p "$root/.data"
        python3 -m venv "$environment" || return 1
        for list in $lists; do
            "$environment/bin/pip" install --quiet --requirement "$list" || return 1
        done
        : >"$environment/complete"
    fi
    PATH=$environment/bin:$PATH
    export PATH
}

# --- The run --------------------------------------------------------------------------------------------------------

swift build --build-tests
part swift 680 scripts/swift-test.sh || true

page=
conformance=
for suite in Tests/Page/run.sh Tests/Conformance/*.sh; do
    case ${suite#Tests/} in *"$only"*) ;; *) continue ;; esac
    if [ ! -e "$suite" ]; then
        echo "skipped ${suite#Tests/}" >>"$results"
        continue
    fi
    case $suite in
    */Page/*) page="$page $suite" ;;
    *) conformance="$conformance $suite" ;;
    esac
done
if [ -n "$page$conformance" ]; then
    if ! python_packages; then
        echo "failed python-packages" >>"$results"
    else
        # The page mostly waits, and schemathesis leaves no sale as it was: at the same time, apart.
        # shellcheck disable=SC2086 # several suites are meant
        {
            [ -z "$page" ] || { lane page $page & lanes="$lanes $!"; }
            [ -z "$conformance" ] || { lane conformance $conformance & lanes="$lanes $!"; }
        }
        for lane in $lanes; do wait "$lane" || echo "failed lane" >>"$results"; done
        lanes=
    fi
fi

skipped=$(names skipped)
failed=$(names failed)
passed=$(names passed | wc -w)
echo "── passed: $passed${skipped:+; not there: $skipped}${failed:+; FAILED: $failed}"
# No test at all is no success.
[ -z "$failed" ] && [ "$passed" -gt 0 ]
