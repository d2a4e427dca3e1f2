#!/bin/sh
# Builds Dibs and runs it with a private Redis and PostgreSQL, from nothing. Ctrl-C or SIGTERM drains it and stops them.
#
#   DIBS_LISTEN   where it listens          (127.0.0.1:8080)
#   DIBS_DATA     where everything is kept  (.data)
#   DIBS_BINARY   runs this one instead of building
set -eu

cd "$(dirname -- "$0")/.."
data=${DIBS_DATA:-.data}
mkdir -p "$data"
data=$(CDPATH='' cd -- "$data" && pwd -P)

scripts/install-packages.sh
if [ -n "${DIBS_BINARY:-}" ]; then
    dibs=$DIBS_BINARY
else
    scripts/require-swift.sh
    swift build -c release --product dibs
    dibs=.build/release/dibs
fi

# Several runs may share the services: each holds this lock shared, and who is alone at its end stops them. The server
# inherits it, so that they stay while it runs, whatever happens to this script.
exec 8>"$data/run.lock"
flock -s 8
# shellcheck disable=SC2317 # the trap calls it
stop_services() {
    if flock -x -n 8; then scripts/services.sh stop "$data" 8>&-; fi
}
trap stop_services EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/services.sh start "$data" 8>&-
. scripts/keys.sh
urls=$(scripts/services.sh urls "$data" 8>&-)
for url in $urls; do
    # shellcheck disable=SC2163 # its value is NAME=value
    export "$url"
done
DIBS_LISTEN=${DIBS_LISTEN:-127.0.0.1:8080}
export DIBS_LISTEN

case $DIBS_LISTEN in
*:0 | 0) echo "Dibs takes a free port; its log says which." ;;
0.0.0.0:* | '[::]:'*) echo "Open http://localhost:${DIBS_LISTEN##*:}/" ;;
*) echo "Open http://$DIBS_LISTEN/" ;;
esac
echo "The admin key is DIBS_ADMIN_KEY in $data/keys.env."

# These are this script's, not the server's, which warns of what it doesn't know.
unset DIBS_DATA DIBS_BINARY

# In a session of its own, so that Ctrl-C comes to it once, from here.
interrupted=
trap 'interrupted=yes; kill -TERM "$server" 2>/dev/null || true' HUP INT TERM
setsid "$dibs" serve &
server=$!
while :; do
    interrupted=
    status=0
    wait "$server" || status=$?
    # A signal ends the waiting, not the server.
    [ -n "$interrupted" ] || break
done
exit "$status"
