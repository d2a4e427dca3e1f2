# To be sourced by scripts/bench.sh: the rows that have a goal. Each is measured beside something that can't be argued with, in
# the same minute, by the same generator (bench/clients.c: epoll, prepared frames, nothing is parsed that need not be).
# shellcheck shell=sh disable=SC2154 # quick, work, … come from bench.sh

# --- Telling 10,000 -----------------------------------------------------------------------------------------------------

# Runs the reader of all three; its figures go to $work/told.json.
tell() { # port, clients, rounds, options…
    told_port=$1 told_clients=$2 told_rounds=$3
    shift 3
    taskset -c "$last_core" bench/build/subscribers --port "$told_port" --count "$told_clients" --rounds "$told_rounds" \
        --publish "$work/publish" "$@" >"$work/told.json" || fail "the subscribers are not content"
}

# An HTTP request that publishes, for `tell`.
publishing() { # method, path, body, header
    (umask 077 && printf '%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: application/json\r\n' "$1" "$2" "${4:+$4
}" >"$work/publish" && printf 'Content-Length: %s\r\n\r\n%s' "${#3}" "$3" >>"$work/publish")
}

start_push_loop() { # bytes
    $on_first_core bench/build/push_loop --bytes "$1" --seconds 120 >"$work/push_loop.log" &
    yardstick=$!
    until grep -qs listening "$work/push_loop.log"; do
        kill -0 "$yardstick" 2>/dev/null || fail "push_loop does not start"
        sleep 0.05
    done
    push_port=$(figure port "$work/push_loop.log")
}

start_nchan() { # worker processes, and on which core if not on the first
    nchan_port=$(free_port)
    mkdir -p "$work/nginx"
    cat >"$work/nginx.conf" <<END
load_module $(find /usr/lib/nginx/modules /usr/share/nginx/modules -name ngx_nchan_module.so 2>/dev/null | head -n 1);
daemon off;
pid $work/nginx/pid;
error_log $work/nginx.log error;
worker_processes $1;
worker_rlimit_nofile 20000;
events { worker_connections 19000; }
http {
    access_log off;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:$nchan_port backlog=4096;
        location = /ws { nchan_subscriber websocket; nchan_channel_id all; }
        location = /publish { nchan_publisher; nchan_channel_id all; nchan_message_buffer_length 1; }
    }
}
END
    ${2-$on_first_core} nginx -c "$work/nginx.conf" -e "$work/nginx.log" >>"$work/nginx.log" 2>&1 &
    yardstick=$!
    until curl -s -o /dev/null -m 1 "http://127.0.0.1:$nchan_port/"; do
        kill -0 "$yardstick" 2>/dev/null || fail "nginx does not start: $(tail -n 3 "$work/nginx.log")"
        sleep 0.05
    done
}

# Each round lets 150 in, so that every place changes by at least 1 % and everybody is told: from the PATCH to the last
# of those who still wait, 10,000 on average.
#
# Who sends and who reads have a core each, in all three: else the reader's work, which interrupts the sender's, is counted as
# well.
measure_goal_ranks() {
    rounds=${quick:+6}
    rounds=${rounds:-12}
    room=told-$repetition
    server_core=$on_first_core
    start_server
    server_core=
    admin POST /api/rooms "{\"id\":\"$room\",\"maxActive\":1,\"passSeconds\":86400}" >/dev/null
    publishing PATCH "/api/rooms/$room" '{"maxActive":##########}' "$(cat "$work/authorization")$(printf '\r')"
    tell "$port" $((10000 + 75 * (rounds + 2))) "$rounds" --tokens "$work/tokens" --room "$room" --from 151 --step 150 \
        --begins '{"type":"rank"'
    by_itself=$(calculate "1e6 * $(counter dibs_rank_pushes_total) / $(counter dibs_rank_push_microseconds_total)")
    stop_server
    ours=$(figure toldPerSecond "$work/told.json") ours_flowing=$(figure flowingPerSecond "$work/told.json")
    ours_us=$(figure processorUs "$work/told.json")
    record told_first "$(figure toFirstMs "$work/told.json")"
    record told_extra "$(calculate "$(figure frames "$work/told.json") / $(figure told "$work/told.json")")"
    bytes=$(figure bytesPerFrame "$work/told.json")
    bytes=$(calculate "int($bytes + 0.5)")

    start_push_loop "$bytes"
    publishing POST /publish ''
    tell "$push_port" 10000 "$rounds"
    stop_yardstick
    loop=$(figure toldPerSecond "$work/told.json")
    record goal_ranks "$ours" "$loop" "$ours_us" "$(figure processorUs "$work/told.json")"
    record ranks "$by_itself" "$loop"
    record goal_flowing "$ours_flowing" "$(figure flowingPerSecond "$work/told.json")"

    # One worker, as Dibs is one process here.
    start_nchan 1
    publishing POST /publish "$(printf "%${bytes}s" '' | tr ' ' x)"
    tell "$nchan_port" 10000 "$rounds"
    stop_yardstick
    record goal_nchan "$ours" "$(figure toldPerSecond "$work/told.json")" "$ours_us" \
        "$(figure processorUs "$work/told.json")"
    [ -z "$quick" ] || return 0
    start_nchan 2 ''
    tell "$nchan_port" 10000 "$rounds"
    stop_yardstick
    record nchan_two "$ours" "$(figure toldPerSecond "$work/told.json")"
}

# --- Claims, beside an echo -------------------------------------------------------------------------------------------

start_echo() {
    echo_port=$(free_port)
    # With the receive buffer that Dibs' connections have (`Library.receiveBytes`).
    bench/build/echo_lws --port "$echo_port" --seconds 120 --receive 512 >"$work/echo.log" &
    yardstick=$!
    until grep -qs listening "$work/echo.log"; do
        kill -0 "$yardstick" 2>/dev/null || fail "echo_lws does not start"
        sleep 0.05
    done
}


# Claims from 1,000 connections, or what is given; figures go to $work/flight.json.
in_flight() { # port, options…
    flight_port=$1
    shift
    bench/build/in_flight --port "$flight_port" "$@" >"$work/flight.json" 2>>"$work/flight.log" ||
        fail "in_flight is not content: $(tail -n 2 "$work/flight.log")"
}

measure_goal_claims() {
    rounds=${quick:+50}
    rounds=${rounds:-150}
    start_server
    in_flight "$port" --watch "$server" --tokens "$work/tokens" --rounds "$rounds" --sales "$(sold_out_sale)" \
        --outcome sold_out
    refused=$(figure perSecond "$work/flight.json") refused_us=$(figure processorUs "$work/flight.json")
    refused_server=$(figure watchedUs "$work/flight.json")
    record claims_p50_sold_out "$(figure p50 "$work/flight.json")"
    record claims_p99_sold_out "$(figure p99 "$work/flight.json")"
    count=${quick:+20}
    count=${count:-50}
    sales=$(new_sales "$count" 1000)
    in_flight "$port" --watch "$server" --tokens "$work/tokens" --rounds "$count" --sales "$sales" --orders
    accepted=$(figure perSecond "$work/flight.json") accepted_us=$(figure processorUs "$work/flight.json")
    accepted_p99=$(figure p99 "$work/flight.json")
    accepted_server=$(figure watchedUs "$work/flight.json")
    record claims_p50_accepted "$(figure p50 "$work/flight.json")"
    record claims_confirmed "$(figure confirmedPerSecond "$work/flight.json")"
    stop_server

    # The same without a committer on these cores, as where it runs elsewhere.
    start_server gateway,scheduler
    sales=$(new_sales "$count" 1000)
    in_flight "$port" --watch "$server" --tokens "$work/tokens" --rounds "$count" --sales "$sales"
    decided_server=$(figure watchedUs "$work/flight.json")
    decided=$(figure perSecond "$work/flight.json")
    stop_server

    start_echo
    in_flight "$echo_port" --watch "$yardstick" --rounds "$rounds"
    stop_yardstick
    echo_server=$(figure watchedUs "$work/flight.json")
    echo=$(figure perSecond "$work/flight.json") echo_us=$(figure processorUs "$work/flight.json")
    record goal_accepted "$accepted" "$echo" "$accepted_us" "$echo_us"
    record goal_accepted_p99 "$accepted_p99" "$(figure p99 "$work/flight.json")"
    record goal_sold_out "$refused" "$echo" "$refused_us" "$echo_us"
    record decided_only "$decided" "$echo"
    record server_refused "$refused_server" "$echo_server"
    record server_decided "$decided_server" "$echo_server"
    record server_accepted "$accepted_server" "$echo_server"
    # What was left in the streams must not be anybody else's work.
    settle_orders "$sales"
}

# Runs a committer until the streams of these sales are empty.
settle_orders() { # sales
    DIBS_ROLES=committer "$dibs" serve >>"$work/committer.log" 2>&1 </dev/null &
    committer=$!
    tries=600
    until [ "$(unsettled "$1")" = 0 ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the orders are not committed"
        sleep 0.1
    done
    kill -TERM "$committer"
    wait "$committer" || fail "the committer ended with status $?"
    committer=
}
unsettled() { # sales
    redis --raw EVAL "local sum = 0
        for sale in string.gmatch(ARGV[1], '%d+') do sum = sum + redis.call('XLEN', 'dibs:{sale:' .. sale .. '}:orders') end
        return sum" 0 "$1"
}

# --- The function alone -----------------------------------------------------------------------------------------------

measure_goal_function() {
    calls=${quick:+60000}
    calls=${calls:-200000}
    start_server
    sale=$(new_sale 10000000)
    stop_server
    # In database 1 no committer looks, and nobody listens.
    redis -n 1 FLUSHDB >/dev/null
    redis COPY "dibs:{sale:$sale}" "dibs:{sale:$sale}" DB 1 >/dev/null
    bench/build/fcall --socket "$redis_socket" --database 1 --silent --sale "$sale" --claims "$calls" --batch 64 \
        >"$work/fcall.json" || fail "fcall is not content"
    ours=$(figure perSecond "$work/fcall.json") ours_us=$(figure processorUs "$work/fcall.json")
    redis -n 1 FLUSHDB >/dev/null
    redis COPY "dibs:{sale:$sale}" "dibs:{sale:$sale}" DB 1 >/dev/null
    bench/build/fcall --socket "$redis_socket" --database 1 --silent --sale "$sale" --claims "$((calls / 2))" --batch 1 \
        >"$work/fcall.json" || fail "fcall is not content"
    single=$(figure perSecond "$work/fcall.json")

    redis -n 1 FLUSHDB >/dev/null
    redis -x FUNCTION LOAD REPLACE <bench/minimal.lua >/dev/null
    redis -n 1 SET left 100000000 >/dev/null
    cpu=$(children_seconds)
    redis-benchmark -s "$redis_socket" --dbnum 1 -n "$calls" -P 16 -c 50 -r 1000000000 --csv --precision 3 \
        FCALL bench_claim 3 clients left orders c__rand_int__ >"$work/fcall.csv"
    cpu=$(calculate "1e6 * ($(children_seconds) - $cpu) / $calls")
    least=$(called 7)
    redis FUNCTION DELETE bench >/dev/null
    redis -n 1 FLUSHDB >/dev/null
    record goal_function "$ours" "$least" "$ours_us" "$cpu"
    record function_single "$single" "$least"
}

# Seconds of processor time of all that this shell has started and waited for.
children_seconds() { awk -v tick="$(getconf CLK_TCK)" '{ print ($16 + $17) / tick }' "/proc/$$/stat"; }

# --- Orders from the stream to PostgreSQL, beside COPY ----------------------------------------------------------------

# For a sale of that price: commits what waits in its stream, and records that beside COPY into the same tables.
commit_row() { # row, price
    count=${quick:+20000}
    count=${count:-50000}
    letter=$repetition$2
    # Without a committer, accepted orders wait in the stream.
    start_server gateway,scheduler
    sale=$(new_sale "$count" "$2")
    sql "insert into accounts
        select 'c$letter' || lpad(i::text, 12, '0'), 1 from generate_series(1, $count) as i where $2 > 0;
        insert into ledger_entries (client_id, amount, kind, reference)
        select 'c$letter' || lpad(i::text, 12, '0'), 1, 'charge', 'c$letter' || lpad(i::text, 12, '0') || ' bench'
        from generate_series(1, $count) as i where $2 > 0;"
    bench/build/fcall --socket "$redis_socket" --sale "$sale" --claims "$count" --prefix "c$letter" >"$work/fill.log" ||
        fail "the stream is not filled"
    # It serves nobody, so there is no port to ask whether it is ready.
    settle_orders "$sale"
    # confirmed_at is the same for a batch: the first one's is where the clock starts, so its orders don't count.
    ours=$(sql "with batches as materialized (
            select confirmed_at, count(*) as orders from orders where sale_id = $sale and status = 'confirmed' group by 1),
        ends as materialized (select min(confirmed_at) as first, max(confirmed_at) as last from batches)
        select sum(orders) filter (where confirmed_at > first) / extract(epoch from max(last) - max(first))
        from batches, ends")
    [ "$(sql "select count(*) from orders where sale_id = $sale and status = 'confirmed'")" = "$count" ] ||
        fail "not all orders were confirmed"
    drift=$(admin GET /api/audit | sed -n 's/.*"drift": *\([0-9]*\),"sales".*/\1/p')
    [ "$drift" = 0 ] || fail "the audit says that Redis and PostgreSQL drift by $drift"

    copy=$(new_sale "$count" "$2")
    copy_of() { # table, condition, columns that the database makes itself
        columns=$(sql "select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns
            where table_schema = 'public' and table_name = '$1' and is_identity = 'NO' and is_generated = 'NEVER'")
        sql "copy (select $columns from $1 where $2) to stdout" |
            sed "s/^$sale	/$copy	/; s/c$letter/d$letter/; s/	$sale-/	$copy-/" >"$work/$1.copy"
        printf "\\\\copy %s (%s) from '%s'\n" "$1" "$columns" "$work/$1.copy" >>"$work/copy.sql"
    }
    moment="select 'moment', extract(epoch from clock_timestamp());"
    echo "$moment" >"$work/copy.sql"
    copy_of accounts "client_id like 'c$letter%'"
    copy_of orders "sale_id = $sale order by sequence"
    copy_of ledger_entries "kind = 'order' and reference like '$sale-%' order by id"
    copy_of sale_counts "sale_id = $sale"
    echo "$moment" >>"$work/copy.sql"
    psql -X -q -A -t -h "$postgres_sockets" -U dibs -d dibs -v ON_ERROR_STOP=1 -f "$work/copy.sql" >"$work/copy.out"
    [ "$(sql "select count(*) from orders where sale_id = $copy")" = "$count" ] || fail "COPY lost orders"
    record "$1" "$ours" "$(sed -n 's/^moment|//p' "$work/copy.out" | awk -v count="$count" '{ at[NR] = $1 }
        END { print count / (at[2] - at[1]) }')"
    sql "delete from ledger_entries where kind = 'order' and reference like '$copy-%';
        delete from orders where sale_id = $copy;
        delete from sale_counts where sale_id = $copy; delete from accounts where client_id like 'd$letter%'"
    rm -f "$work"/*.copy "$work/copy.sql"
    stop_server
}

measure_goal_commit() {
    commit_row goal_commit 1
    [ -n "$quick" ] || commit_row commit 0
}

# --- All at once, beside the same service in Python -------------------------------------------------------------------

python_packages() {
    environment=$root/.data/python-bench-$(sha256sum <bench/fastapi/requirements.txt | cut -c 1-12)
    [ ! -e "$environment/complete" ] || return 0
    rm -rf "$environment"
    mkdir -p "$root/.data"
    python3 -m venv "$environment" && "$environment/bin/pip" install --quiet --requirement bench/fastapi/requirements.txt &&
        : >"$environment/complete"
}

start_python() { # worker processes
    python_port=$(free_port)
    redis -n 2 FLUSHDB >/dev/null
    REDIS_URL="unix://$redis_socket?db=2" DATABASE_URL="postgresql://dibs@/fastapi?host=$postgres_sockets" \
        "$environment/bin/uvicorn" app:app --app-dir bench/fastapi --host 127.0.0.1 --port "$python_port" --workers "$1" \
        --loop uvloop --http httptools --ws websockets-sansio --timeout-graceful-shutdown 2 \
        --ws-ping-interval 60 --ws-ping-timeout 60 --timeout-worker-healthcheck 60 --no-access-log --log-level warning \
        >>"$work/python.log" 2>&1 </dev/null &
    yardstick=$!
    until curl -fsS -o /dev/null -m 1 "http://127.0.0.1:$python_port/readyz" 2>/dev/null; do
        kill -0 "$yardstick" 2>/dev/null || fail "the Python service does not start: $(tail -n 3 "$work/python.log")"
        sleep 0.1
    done
}

# All claims at once, on five sales with a ticket for everybody; sets rate and us.
at_once() { # port, clients, sales
    in_flight "$1" --connections "$2" --tokens "$work/tokens" --rounds 5 --sales "$3" --orders --at-once
    rate=$(figure confirmedPerSecond "$work/flight.json") us=$(figure processorUs "$work/flight.json")
}

python_at_once() { # workers, clients; sets rate and us
    start_python "$1"
    sales=
    for _ in 1 2 3 4 5; do
        sales=${sales:+$sales,}$(curl -fsS -d "{\"name\":\"bench\",\"quantity\":$2}" \
            "http://127.0.0.1:$python_port/api/sales" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p')
    done
    at_once "$python_port" "$2" "$sales"
    stop_yardstick
    redis -n 2 FLUSHDB >/dev/null
}

dibs_at_once() { # workers, clients; sets rate and us
    DIBS_WORKERS=$1 start_server
    at_once "$port" "$2" "$(new_sales 5 "$2")"
    stop_server
}

# Both with as many worker processes as suit them.
measure_goal_service() {
    clients=${quick:+2000}
    clients=${clients:-10000}
    python_packages || fail "the Python packages can't be installed"
    [ "$(sql "select count(*) from pg_database where datname = 'fastapi'")" = 1 ] || sql 'create database fastapi'
    best_of python_at_once
    python=$best python_us=$best_us
    record service_python_workers "$workers"
    best_of dibs_at_once
    record service_dibs_workers "$workers"
    record goal_service "$best" "$python" "$best_us" "$python_us"
}

# Sets best, best_us and workers: one process or two, found out with fewer clients where there are many.
best_of() { # function
    trial=$((clients > 2000 ? 2000 : clients))
    "$1" 1 "$trial"
    best=$rate best_us=$us workers=1
    "$1" 2 "$trial"
    [ "$(calculate "($rate > $best)")" = 0 ] || best=$rate best_us=$us workers=2
    [ "$trial" != "$clients" ] || return 0
    "$1" "$workers" "$clients"
    best=$rate best_us=$us
}

# --- Who waits --------------------------------------------------------------------------------------------------------

# Keeps so many clients open until `let_go`; its first line goes to $work/waiting-N.json.
hold() { # N, port, clients, options…
    held=$1 held_port=$2 held_count=$3
    shift 3
    rm -f "$work/waiting-$held.json"
    mkfifo "$work/hold-$held"
    bench/build/subscribers --port "$held_port" --count "$held_count" "$@" <"$work/hold-$held" \
        >"$work/waiting-$held.json" 2>>"$work/flight.log" &
    holders="$holders $!"
    # Its end of the pipe stays open until `let_go`.
    case $held in 1) exec 4>"$work/hold-1" ;; 2) exec 5>"$work/hold-2" ;; 3) exec 6>"$work/hold-3" ;; esac
    until [ -s "$work/waiting-$held.json" ]; do
        kill -0 "${holders##* }" 2>/dev/null || fail "$held_count clients can't be held: $(tail -n 2 "$work/flight.log")"
        sleep 0.05
    done
    sleep 0.5
}
let_go() {
    exec 4>&- 5>&- 6>&-
    for holder in $holders; do wait "$holder" || fail "clients were lost"; done
    holders=
    rm -f "$work"/hold-[123]
}

# Nanoseconds, by the scheduler: ticks are samples, and who wakes up by a timer of the same rhythm is hit or missed by them.
processor_nanoseconds() { cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

measure_goal_waiting() {
    room=waiting-$repetition
    start_server
    # Nobody is let in: the line does not move.
    admin POST /api/rooms "{\"id\":\"$room\",\"maxActive\":0}" >/dev/null
    # The first thousand bring what there is only once.
    hold 1 "$port" 1000 --tokens "$work/tokens" --room "$room"
    before=$(resident_bytes "$server")
    redis_before=$(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    hold 2 "$port" 10000 --tokens "$work/tokens" --skip 1000 --room "$room"
    ours=$(calculate "($(resident_bytes "$server") - $before) / 10000")
    redis_grown=$(calculate "($(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p') - $redis_before) / 10000")
    if [ "$repetition" = 1 ]; then
        hold 3 "$port" 4000 --tokens "$work/tokens" --skip 11000 --room "$room"
        # A WebSocket is pinged after 45 s of silence: this has one ping and pong of everybody in it.
        seconds=${quick:+5}
        seconds=${seconds:-45}
        sleep 2
        used=$(processor_nanoseconds "$server")
        sleep "$seconds"
        record goal_idle "$(calculate "($(processor_nanoseconds "$server") - $used) / 1e7 / $seconds")"
    fi
    let_go
    stop_server
    connected=$(figure connectedPerSecond "$work/waiting-2.json")
    connected_us=$(figure openingProcessorUs "$work/waiting-2.json")

    start_echo
    hold 1 "$echo_port" 1000
    before=$(resident_bytes "$yardstick")
    hold 2 "$echo_port" 10000
    echo=$(calculate "($(resident_bytes "$yardstick") - $before) / 10000")
    let_go
    stop_yardstick
    record goal_memory "$ours" "$echo"
    record waiting_redis "$redis_grown"
    record goal_connect "$connected" "$(figure connectedPerSecond "$work/waiting-2.json")" "$connected_us" \
        "$(figure openingProcessorUs "$work/waiting-2.json")"
}

# --- Starting ---------------------------------------------------------------------------------------------------------

# At first there are no sales; later there are those of all that was measured.
measure_goal_start() {
    start_port=$(free_port)
    sales=$(sql 'select count(*) from sales')
    DIBS_LISTEN=127.0.0.1:$start_port bench/start.py 5 "$work/server.log" "$dibs" serve >"$work/starts" ||
        fail "the server can't be started"
    took=$(sort -n "$work/starts" | sed -n 3p)
    if [ "$sales" = 0 ]; then
        record goal_start "$took"
    else
        record goal_start_sales "$took"
        record start_sales "$sales"
    fi
}
