#!/bin/sh
# A private Redis and a private PostgreSQL, on Unix sockets only, that live in one directory.
#
#   scripts/services.sh start DIR      starts what is not running, and waits until both answer
#   scripts/services.sh urls DIR       prints DIBS_REDIS_URL=… and DIBS_DATABASE_URL=…
#   scripts/services.sh status DIR     says what runs; status 0 when both answer, else 3
#   scripts/services.sh stop DIR       stops what runs, and keeps the data
#   scripts/services.sh remove DIR     stops, and deletes the data
#
# DIBS_SERVICES_THROWAWAY=1 (for start): nothing need survive a power failure, so nothing waits for the disk.
#
# PostgreSQL refuses to run as root, so for root it runs as the system user `postgres`. Where that user cannot reach DIR
# (a clone in /root), PostgreSQL's files are in /var/lib/dibs-<hash of DIR> instead. Where DIR is too long for the name
# of a Unix socket (107 bytes), the sockets are in /tmp/dibs-<hash of DIR>.
#
# A process is only ever stopped when it is what its pid file says: the right program, working in our directory.
set -eu

usage() {
    sed -n '2,/^set/{/^#/!q;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 64
}
fail() {
    echo "services.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || usage
command=$1
case $command in start | stop | status | urls | remove) ;; *) usage ;; esac
if [ "$command" = start ]; then
    [ -d "$2" ] || mkdir -p "$2"
elif [ ! -d "$2" ]; then
    [ "$command" != status ] || { echo "nothing runs in $2"; exit 3; }
    [ "$command" != urls ] || fail "there is no $2"
    exit 0
fi
dir=$(CDPATH='' cd -- "$2" && pwd -P)
hash=$(printf '%s' "$dir" | sha256sum | cut -c 1-12)

# Where Debian keeps the programs that only a server needs.
postgres_bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$postgres_bin" ] || postgres_bin=$(dirname -- "$(command -v postgres || echo /usr/bin/postgres)")

# --- Who runs PostgreSQL, and where everything is -------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then
    postgres_user=postgres
    as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
else
    postgres_user=$(id -un)
    as_postgres() { "$@"; }
fi

# Makes a directory that others may pass through but not list, and refuses one that somebody else put there.
own_directory() {
    mkdir -m 711 "$1" 2>/dev/null || true
    if [ -L "$1" ] || [ ! -d "$1" ] || [ ! -O "$1" ]; then fail "$1 is not a directory of $(id -un)"; fi
}

place=$dir
if [ "$(id -u)" = 0 ] && [ "$command" = start ]; then chmod go+x "$dir"; fi
if [ "$(id -u)" = 0 ] && ! as_postgres test -x "$dir" 2>/dev/null; then
    place=/var/lib/dibs-$hash
fi
sockets=$place
case $place in *[!A-Za-z0-9/._-]*) sockets=/tmp/dibs-$hash ;; esac
# The longest name is <sockets>/pg/.s.PGSQL.5432.
[ "${#sockets}" -le 90 ] || sockets=/tmp/dibs-$hash

redis_data=$dir/redis
redis_socket=$sockets/redis.sock
redis_pid_file=$dir/redis.pid
postgres_data=$place/postgres
postgres_sockets=$sockets/pg

# --- Is it ours, and does it answer? --------------------------------------------------------------------------------

# The process that a pid file names, if it is that program and works in that directory; else nothing.
process_of() { # pid file, program, working directory
    [ -r "$1" ] || return 0
    pid=$(head -n 1 "$1" | tr -cd 0-9)
    [ -n "$pid" ] && [ -d "/proc/$pid" ] || return 0
    name=$(cat "/proc/$pid/comm" 2>/dev/null || true)
    cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null || true)
    if [ "$name" = "$2" ] && [ "$cwd" = "$3" ]; then echo "$pid"; fi
}
redis_process() { process_of "$redis_pid_file" redis-server "$redis_data"; }
postgres_process() { process_of "$postgres_data/postmaster.pid" postgres "$postgres_data"; }

redis_answers() { [ "$(redis-cli -s "$redis_socket" ping 2>/dev/null)" = PONG ]; }
postgres_query() { psql -X -q -A -t -h "$postgres_sockets" -U dibs "$@"; }
postgres_answers() { postgres_query -d postgres -c 'SELECT 1' >/dev/null 2>&1; }

# Waits until a command succeeds, while a process lives (when one is named).
wait_for() { # seconds, process or '', command…
    tries=$(($1 * 20))
    process=$2
    shift 2
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        if [ -n "$process" ] && is_gone "$process"; then return 1; fi
        sleep 0.05
    done
}
# A zombie has ended, and has no working directory.
is_gone() { ! readlink "/proc/$1/cwd" >/dev/null 2>&1; }

# --- Redis ----------------------------------------------------------------------------------------------------------

start_redis() {
    if [ -z "$(redis_process)" ]; then
        [ -d "$redis_data" ] || mkdir -m 700 "$redis_data"
        rm -f "$redis_pid_file"
        fsync=everysec
        [ -z "${DIBS_SERVICES_THROWAWAY:-}" ] || fsync=no
        # A daemon, so that Ctrl-C in the terminal does not reach it before it reaches Dibs.
        redis-server --daemonize yes --pidfile "$redis_pid_file" --dir "$redis_data" --logfile "$redis_data/redis.log" \
            --port 0 --unixsocket "$redis_socket" --unixsocketperm 700 \
            --save '' --appendonly yes --appendfsync "$fsync" >/dev/null 9>&- ||
            fail "Redis does not start; see $redis_data/redis.log"
        wait_for 10 '' test -s "$redis_pid_file" || fail "Redis does not start; see $redis_data/redis.log"
    fi
    # Reading a large append-only file takes its time.
    wait_for 120 "$(redis_process)" redis_answers || fail "Redis does not answer; see $redis_data/redis.log"
}

stop_redis() {
    process=$(redis_process)
    [ -n "$process" ] || return 0
    redis-cli -s "$redis_socket" shutdown >/dev/null 2>&1 || kill -TERM "$process" 2>/dev/null || true
    wait_for 30 '' is_gone "$process" || fail "Redis (process $process) does not stop"
    rm -f "$redis_pid_file"
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

make_cluster() {
    [ ! -s "$postgres_data/PG_VERSION" ] || return 0
    # Under another name until it is whole, so that an interrupted initdb is never taken for a cluster.
    rm -rf "$postgres_data.new"
    mkdir -m 700 "$postgres_data.new"
    [ "$(id -u)" != 0 ] || chown postgres: "$postgres_data.new"
    # Whoever may open the socket is trusted: its mode lets in its owner only (and root).
    as_postgres "$postgres_bin/initdb" --pgdata "$postgres_data.new" --username=dibs --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 ${DIBS_SERVICES_THROWAWAY:+--no-sync} >"$dir/initdb.log" 2>&1 9>&- ||
        fail "initdb fails; see $dir/initdb.log"
    mv "$postgres_data.new" "$postgres_data"
}

# PostgreSQL deals with its own stale files, but not when their process id now belongs to somebody else. Only then they
# are removed here, and only when nothing works in the data directory: what is left of a killed PostgreSQL may not be
# overlooked.
forget_dead_postgres() {
    for file in "$postgres_data/postmaster.pid" "$postgres_sockets/.s.PGSQL.5432.lock"; do
        [ -r "$file" ] || continue
        [ -d "/proc/$(head -n 1 "$file" | tr -cd 0-9)" ] || continue
        for cwd in /proc/[0-9]*/cwd; do
            [ "$(readlink "$cwd" 2>/dev/null)" != "$postgres_data" ] ||
                fail "parts of a killed PostgreSQL still run in $postgres_data: ${cwd%/cwd}"
        done
        rm -f "$file"
    done
}

start_postgres() {
    if [ -z "$(postgres_process)" ]; then
        [ -d "$postgres_sockets" ] || mkdir -m 700 "$postgres_sockets"
        [ "$(id -u)" != 0 ] || chown postgres: "$postgres_sockets"
        make_cluster
        forget_dead_postgres
        options="-c listen_addresses='' -c unix_socket_directories='$postgres_sockets' -c unix_socket_permissions=0700"
        [ -z "${DIBS_SERVICES_THROWAWAY:-}" ] || options="$options -c fsync=off -c full_page_writes=off"
        as_postgres "$postgres_bin/pg_ctl" start --silent --pgdata "$postgres_data" --timeout 120 \
            --log "$postgres_data/server.log" --options "$options" 9>&- ||
            fail "PostgreSQL does not start; see $postgres_data/server.log"
    fi
    wait_for 120 "$(postgres_process)" postgres_answers ||
        fail "PostgreSQL does not answer; see $postgres_data/server.log"
    if [ "$(postgres_query -d postgres -c "SELECT 1 FROM pg_database WHERE datname = 'dibs'")" != 1 ]; then
        postgres_query -d postgres -c 'CREATE DATABASE dibs'
    fi
}

stop_postgres() {
    process=$(postgres_process)
    [ -n "$process" ] || return 0
    as_postgres "$postgres_bin/pg_ctl" stop --silent --pgdata "$postgres_data" --mode fast --timeout 60 ||
        fail "PostgreSQL (process $process) does not stop"
}

# --- What was asked for ---------------------------------------------------------------------------------------------

# One at a time in a directory; the servers must not inherit the lock (9>&- above).
exec 9>"$dir/services.lock"
flock 9
# PostgreSQL's tools want a working directory that their user can be in.
cd /

case $command in
start)
    for program in redis-server redis-cli psql "$postgres_bin/initdb"; do
        command -v "$program" >/dev/null || fail "$program is missing: run \`make install\`"
    done
    [ "$place" = "$dir" ] || own_directory "$place"
    [ "$sockets" = "$place" ] || own_directory "$sockets"
    start_redis
    start_postgres
    ;;
stop)
    stop_redis
    stop_postgres
    ;;
remove)
    stop_redis
    stop_postgres
    rm -rf "$redis_data" "$redis_socket" "$postgres_data" "$postgres_sockets" "$dir/initdb.log" "$dir/services.lock"
    [ "$place" = "$dir" ] || rmdir "$place"
    [ "$sockets" = "$place" ] || rmdir "$sockets"
    ;;
status)
    status=0
    if redis_answers; then echo "Redis: process $(redis_process), $redis_socket"; else echo "Redis: down"; status=3; fi
    if postgres_answers; then
        echo "PostgreSQL: process $(postgres_process) as $postgres_user, $postgres_sockets"
    else
        echo "PostgreSQL: down"
        status=3
    fi
    exit "$status"
    ;;
urls)
    echo "DIBS_REDIS_URL=unix://$redis_socket"
    # The path has no character that a URL gives a meaning to: see `sockets`.
    echo "DIBS_DATABASE_URL=postgresql://dibs@/dibs?host=$postgres_sockets"
    ;;
esac
