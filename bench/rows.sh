# To be sourced by scripts/bench.sh: one function for each thing that is measured. Each measures once, ours and the yardstick
# one right after the other, and records both.
# shellcheck shell=sh disable=SC2154 # quick, work, … come from bench.sh

# --- Claims over WebSocket, beside the same function called by redis-benchmark ----------------------------------------

# Calls dibs_claim on a copy of a sale in database 1, where no committer looks, telling a channel that nobody listens to.
call_claim() { # sale, requests, pipeline
    state="dibs:{sale:$1}"
    redis -n 1 FLUSHDB >/dev/null
    redis COPY "$state" "$state" DB 1 >/dev/null
    redis-benchmark -s "$redis_socket" --dbnum 1 -n "$2" -P "$3" -c 50 -r 1000000000 --csv --precision 3 \
        FCALL dibs_claim 7 "$state" "$state:clients" "$state:keys" "$state:returned" "$state:orders" "$state:counts" \
        "$state:series" '' nobody 99 1 c__rand_int__ 'c__rand_int__ k' >"$work/fcall.csv"
    redis -n 1 FLUSHDB >/dev/null
}
# The last line's fields: the test, calls a second, and latencies in ms: average, least, p50, p95, p99, most.
called() { tail -n 1 "$work/fcall.csv" | tr -d '"' | rev | cut -d , -f "$1" | rev; }

claim_rows() { # kind
    record "claims_$1" "$(figure decidedPerSecond "$work/rush.json")" "$claims_pipelined"
    record "claims_$1_single" "$(figure decidedPerSecond "$work/rush.json")" "$claims_single"
    record "claims_$1_p50" "$(inner toResultMs p50 "$work/rush.json")"
    record "claims_$1_p99" "$(inner toResultMs p99 "$work/rush.json")"
    record "claims_$1_generator" "$(calculate "1000 * $(figure generatorProcessorMs "$work/rush.json") /
        $(figure decided "$work/rush.json")")"
}

yardsticks() { # sale, calls
    call_claim "$1" "$2" 16
    claims_pipelined=$(called 7)
    call_claim "$1" "$(($2 / 3))" 1
    claims_single=$(called 7)
}

measure_claims() {
    rounds=${quick:+40}
    start_server

    sold_out=$(new_sale 1)
    admin POST "/api/sales/$sold_out/claims" '{"userId":"first"}' >/dev/null
    yardsticks "$sold_out" $((${rounds:-150} * 1500))
    rush --buyers 1000 --claims "${rounds:-150}" --sale "$sold_out"
    claim_rows sold_out

    # Each claim is the first of its client on its sale, as in a real one; so many sales, one after the other.
    sales=
    count=${quick:+15}
    for _ in $(seq "${count:-50}"); do sales=${sales:+$sales,}$(new_sale 1000); done
    yardsticks "$(new_sale 10000000)" $((${count:-50} * 1500))
    rush --buyers 1000 --claims "${count:-50}" --sale "$sales"
    claim_rows accepted
    stop_server
}

# --- The same load on an echo server in C: what libwebsockets and the load generator can do at all ---------------------

start_echo() {
    echo_port=$(free_port)
    # With the receive buffer that Dibs' connections have (`Library.receiveBytes`).
    bench/build/echo_lws --port "$echo_port" --seconds 120 --receive 512 >"$work/echo.log" &
    yardstick=$!
    until grep -q listening "$work/echo.log"; do
        kill -0 "$yardstick" 2>/dev/null || fail "echo_lws does not start"
        sleep 0.05
    done
}
stop_echo() {
    kill -TERM "$yardstick"
    wait "$yardstick" 2>/dev/null || true
    yardstick=
}

measure_echo() {
    rounds=${quick:+60}
    start_server
    sold_out=$(new_sale 1)
    admin POST "/api/sales/$sold_out/claims" '{"userId":"first"}' >/dev/null
    rush --buyers 1000 --claims "${rounds:-150}" --sale "$sold_out"
    ours=$(figure decidedPerSecond "$work/rush.json")
    stop_server
    start_echo
    server_url=http://127.0.0.1:$echo_port rush --echo --buyers 1000 --claims "${rounds:-150}"
    record claims_echo "$ours" "$(figure decidedPerSecond "$work/rush.json")"
    stop_echo
}

# --- Telling 10,000 watchers ------------------------------------------------------------------------------------------

measure_broadcast() {
    start_server
    seconds=${quick:+3}
    # Claims come faster than rounds of telling end, so there is always something new to tell.
    rush --watchers 10000 --buyers $((100 * ${seconds:-5})) --rate 100 --quantity 100000
    ours=$(figure watchedPerSecond "$work/rush.json")
    record broadcast_generator "$(calculate "1000 * $(figure generatorProcessorMs "$work/rush.json") /
        $(figure watched "$work/rush.json")")"
    record broadcast_p99 "$(inner toResultMs p99 "$work/rush.json")"
    stop_server
    bench/build/send_loop --sockets 10000 --seconds "${seconds:-5}" >"$work/send_loop.json"
    record broadcast "$ours" "$(figure sent_per_second "$work/send_loop.json")"
}

# --- Seats, beside the limited sale: the same generator, the same run ---------------------------------------------------

measure_holds() {
    rounds=${quick:+40}
    rounds=${rounds:-100}
    start_server
    # All want one seat that somebody has: a pass is checked, and refused it is. Beside it claims of what is sold out; and
    # those of a sale that is behind a waiting room as seats are, so that a pass is checked for each too.
    sold_out=$(new_sale 1)
    admin POST "/api/sales/$sold_out/claims" '{"userId":"first"}' >/dev/null
    rush --buyers 1000 --claims "$rounds" --sale "$sold_out"
    claims=$(figure decidedPerSecond "$work/rush.json")
    rush --buyers 1000 --claims "$rounds" --seats 50 --one --pay 0 --unpaid keep --hold-seconds 86400
    holds=$(figure decidedPerSecond "$work/rush.json")
    record holds_taken "$holds" "$claims"
    record holds_taken_p50 "$(inner toResultMs p50 "$work/rush.json")"
    record holds_taken_p99 "$(inner toResultMs p99 "$work/rush.json")"
    rush --room "holds-$repetition" --max-active 1000 --pass-seconds 86400 --buyers 1000 --claims "$rounds"
    record holds_taken_room "$holds" "$(figure decidedPerSecond "$work/rush.json")"

    # Each of its own, and each claim of a sale where there is enough; both are written down meanwhile.
    count=${quick:+15}
    count=${count:-50}
    sales=
    for _ in $(seq "$count"); do sales=${sales:+$sales,}$(new_sale 1000); done
    rush --buyers 1000 --claims "$count" --sale "$sales"
    claims=$(figure decidedPerSecond "$work/rush.json")
    rush --buyers 1000 --claims "$count" --seats $((1000 * count)) --own --pay 0 --unpaid keep --hold-seconds 86400
    record holds_free "$(figure decidedPerSecond "$work/rush.json")" "$claims"
    record holds_free_p50 "$(inner toResultMs p50 "$work/rush.json")"
    record holds_free_p99 "$(inner toResultMs p99 "$work/rush.json")"
    stop_server
}

# --- 100,000 seats: the first whole answer to who watches, and how long a change takes to the last of 5,000 -------------

# Sets first_ms, last_ms and size.
first_answers() { # watchers, options of watch_seats…
    watchers=$1
    shift
    bench/build/watch_seats --port "$port" --performance "$performance" --watchers "$watchers" "$@" >"$work/watch.json"
    first_ms=$(figure p50 "$work/watch.json")
    last_ms=$(figure max "$work/watch.json")
    size=$(figure bytes "$work/watch.json")
}

measure_seating() {
    start_server
    concert=$(admin POST /api/concerts '{"name":"bench"}' | sed -n 's/.*"concertId": *\([0-9]*\).*/\1/p')
    performance=$(admin POST "/api/concerts/$concert/dates" '{"startsAt":"2099-01-01T00:00:00Z","price":1,"seats":100000}' |
        sed -n 's/.*"concertDetailId": *\([0-9]*\).*/\1/p')
    # The first who watches makes this gateway read the seats, and has no other before it.
    first_answers 1
    plain_ms=$first_ms plain_size=$size
    first_answers 1 --compact
    record seating_one "$plain_ms" "$first_ms"
    record seating_bytes "$plain_size" "$size"
    first_answers 1000
    plain_ms=$first_ms plain_last=$last_ms
    first_answers 1000 --compact
    record seating_many "$plain_ms" "$first_ms"
    record seating_last "$plain_last" "$last_ms"
    stop_server
}

measure_changes() {
    changes=${quick:+20}
    changes=${changes:-50}
    start_server
    rush --seats 100000 --own --buyers "$changes" --join-rate 5 --pay 0 --unpaid keep --hold-seconds 86400 \
        --watchers 5000 --compact --follow
    [ "$(figure followed "$work/rush.json")" = "$changes" ] || fail "not every hold was heard of"
    for part in p50 p99 max; do
        eval "seats_$part=$(inner askedToLastWatcherMs "$part" "$work/rush.json")"
        record "changes_answer_$part" "$(inner toLastWatcherMs "$part" "$work/rush.json")"
    done
    rush --quantity 1000 --buyers "$changes" --rate 5 --watchers 5000 --follow
    # shellcheck disable=SC2154 # seats_… are set above
    for part in p50 p99 max; do
        eval "record changes_$part \$seats_$part $(inner askedToLastWatcherMs "$part" "$work/rush.json")"
    done
    stop_server
}

# --- Orders from the stream to PostgreSQL, beside COPY ----------------------------------------------------------------

measure_commit() {
    count=${quick:+20000}
    count=${count:-50000}
    # Without a committer, accepted orders wait in the stream.
    start_server gateway,scheduler
    sale=$(new_sale "$count")
    state="dibs:{sale:$sale}"
    redis-benchmark -s "$redis_socket" -n $((count * 21 / 20)) -P 16 -r 1000000000 -q \
        FCALL dibs_claim 7 "$state" "$state:clients" "$state:keys" "$state:returned" "$state:orders" "$state:counts" \
        "$state:series" '' "$state:events" 99 1 c__rand_int__ 'c__rand_int__ k' >"$work/fill.log"
    [ "$(redis XLEN "$state:orders")" = "$count" ] || fail "not $count orders were accepted"

    # It serves nobody, so there is no port to ask whether it is ready.
    DIBS_ROLES=committer .build/release/dibs serve >>"$work/committer.log" 2>&1 </dev/null &
    committer=$!
    tries=1200
    until [ "$(redis XLEN "$state:orders")" = 0 ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the orders are not committed"
        sleep 0.1
    done
    kill -TERM "$committer"
    wait "$committer" || fail "the committer ended with status $?"
    committer=
    # confirmed_at is the same for a batch: the first one's is where the clock starts, so its orders don't count.
    ours=$(sql "select (count(*) - count(*) filter (where confirmed_at = first)) / extract(epoch from max(last) - max(first))
        from orders, (select min(confirmed_at) as first, max(confirmed_at) as last from orders where sale_id = $sale) as ends
        where sale_id = $sale")
    drift=$(admin GET /api/audit | sed -n 's/.*"drift": *\([0-9]*\),"sales".*/\1/p')
    [ "$drift" = 0 ] || fail "the audit says that Redis and PostgreSQL drift by $drift"

    copy=$(new_sale "$count")
    columns=$(sql "select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns
        where table_schema = 'public' and table_name = 'orders'")
    sql "copy (select $columns from orders where sale_id = $sale order by sequence) to stdout" |
        sed "s/^$sale	/$copy	/" >"$work/orders.copy"
    before=$(now)
    sql "copy orders ($columns) from stdin" <"$work/orders.copy"
    after=$(now)
    [ "$(sql "select count(*) from orders where sale_id = $copy")" = "$count" ] || fail "COPY lost orders"
    record commit "$ours" "$(calculate "$count / ($after - $before)")"
    sql "delete from orders where sale_id = $copy"
    rm "$work/orders.copy"
    stop_server
}

# --- Lines of 5,000 and of 5,000,000 ----------------------------------------------------------------------------------

# Calls a function of rooms on the room `line`, and prints how many microseconds Redis took for each call.
call_room() { # function, range of __rand_int__, calls, passes, arguments…
    function=$1 range=$2 calls=$3 passes=$4
    shift 4
    state='dibs:{room:line}'
    redis CONFIG RESETSTAT >/dev/null
    redis-benchmark -s "$redis_socket" -n "$calls" -c 1 -r "$range" --csv FCALL "$function" 14 "$state" "$state:members" \
        "$state:line" "$state:gone" "$state:sums" "$state:presence" "$state:blocks" "$state:active" "$state:passes" \
        "$state:finished" "$state:outbox" "$state:drawn" "$state:cleared" "$state:renumbered" '' "$state:events" "$passes" "$@" \
        >>"$work/line.log"
    redis INFO commandstats | sed -n 's/^cmdstat_fcall:.*usec_per_call=\([0-9.]*\).*/\1/p'
}

# Lets so many join, 250 a call, each held by a gateway; those beyond the room's cap wait. What a pass is, matters to nobody.
fill_line() { # how many
    awk -v count="$1" 'function word(text) { return sprintf("$%d\r\n%s\r\n", length(text), text) }
        BEGIN {
            state = "dibs:{room:line}"
            split(" :members :line :gone :sums :presence :blocks :active :passes :finished :outbox :drawn :cleared :renumbered", keys, " ")
            head = word("FCALL") word("dibs_room_join") word(14) word(state)
            for (i = 1; i <= 13; i++) head = head word(state keys[i])
            head = head word("") word(state ":events")
            for (first = 1; first <= count; first += 250) {
                text = ""
                for (i = first; i < first + 250 && i <= count; i++) text = text word(sprintf("u%012d", i)) word(1000000000)
                passes = first == 1 ? 100 : 0
                given = word(passes)
                for (i = 1; i <= passes; i++) given = given word("pass-" i)
                printf "*%d\r\n%s%s%s", 20 + passes + 2 * (i_last(first, count) - first + 1), head, given, text
            }
        }
        function i_last(first, count) { return first + 249 < count ? first + 249 : count }' |
        redis --pipe >"$work/pipe.log" || fail "the line is not filled: $(tail -n 2 "$work/pipe.log")"
}

measure_line_of() { # how many; sets joining, ranking, ticking, reading, remembering, mapping
    DIBS_LOG_LEVEL=debug start_server
    admin POST /api/rooms '{"id":"line","passSeconds":604800}' >/dev/null
    redis FUNCTION LIST >/dev/null
    before=$(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    fill_line $(($1 + 100))
    after=$(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    remembering=$(calculate "($after - $before) / $1")
    # Some leave out of turn, anywhere.
    call_room dibs_room_leave "$1" 1000 0 'u__rand_int__' >/dev/null
    joining=$(call_room dibs_room_join 1000000000 2000 0 'c__rand_int__' 1000000000)
    ticking=$(call_room dibs_room_tick 1 2000 0)
    # One connection, one request after the other, anywhere in the line.
    step=$(($1 / 1000))
    curl -fsS -m 60 -H @"$work/authorization" -w '\n%{time_total}\n' \
        "$server_url/api/users/u[000000000200-$(printf %012d "$1"):$step]/token?room=line" | sed '/{/d;/^$/d' >"$work/ranks.txt"
    ranking=$(sort -n "$work/ranks.txt" | awk '{ all[NR] = $1 } END { print 1e6 * all[int((NR + 1) / 2)] }')
    # The first who joins here makes this gateway read the line.
    .build/release/rush --instances "$server_url" --room line --no-claim --buyers 1 --timeout 2 --json "$work/rush.json" \
        >/dev/null 2>&1 || true
    mapping=$(sed -n 's/.*"event":"room_read".*"microseconds":\([0-9]*\).*/\1/p' "$work/server.log" | tail -n 1)
    reading=$(redis --raw GETRANGE 'dibs:{room:line}:gone' 0 -1 | wc -c)
    redis FLUSHALL >/dev/null
    sql "delete from rooms where id = 'line'"
    stop_server
}

measure_line() {
    measure_line_of 5000
    few_joining=$joining few_ranking=$ranking few_ticking=$ticking few_mapping=$mapping
    measure_line_of 5000000
    record line_join "$joining" "$few_joining"
    record line_rank "$ranking" "$few_ranking"
    record line_tick "$ticking" "$few_ticking"
    record line_snapshot "$mapping" "$few_mapping"
    record line_snapshot_bytes "$reading"
    record line_memory "$remembering"
}

# --- Telling 10,000 who wait, each its own place ----------------------------------------------------------------------

# What Redis was asked, and what it sent, since its start.
redis_traffic() {
    redis INFO stats | tr -d '\r' | sed -n 's/^total_commands_processed:/commands=/p; s/^total_net_output_bytes:/sent=/p'
}
counter() { curl -fsS -m 10 "$server_url/metrics" | sed -n "s/^$1 //p"; }

# Lets so many wait in a new room, and moves the line: 150 at once, so that every place changes by at least 1 %. Sets
# pushes and push_us (what the server did meanwhile), and commands and sent (what one move costs Redis).
move_line() { # waiters, room
    # As the yardstick has it: who sends and who reads don't take each other's core.
    cores=$(taskset -cp $$ | sed 's/.*: //; s/-/ /; s/,/ /g')
    server_core="taskset -c ${cores%% *}"
    start_server
    server_core=
    taskset -c "${cores##* }" .build/release/rush --instances "$server_url" --room "$2" --no-claim --buyers "$1" \
        --max-active 1 --pass-seconds 20 --timeout 90 --json "$work/rush.json" >/dev/null 2>>"$work/rush.log" &
    holder=$!
    tries=600
    until [ "$(counter dibs_waiters)" -ge $(($1 - 2)) ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the line of $1 does not form"
        sleep 0.1
    done
    sleep 1
    commands=0 sent=0
    eval "$(redis_traffic)"
    commands_before=$commands sent_before=$sent
    before=$(counter dibs_rank_pushes_total) before_us=$(counter dibs_rank_push_microseconds_total)
    admitted=1
    for _ in $(seq 20); do
        admitted=$((admitted + 150))
        admin PATCH "/api/rooms/$2" "{\"maxActive\":$admitted}" >/dev/null
        sleep 0.2
    done
    pushes=$(($(counter dibs_rank_pushes_total) - before))
    push_us=$(($(counter dibs_rank_push_microseconds_total) - before_us))
    eval "$(redis_traffic)"
    commands=$((commands - commands_before)) sent=$((sent - sent_before))
    admin PATCH "/api/rooms/$2" '{"maxActive":100000}' >/dev/null
    # It finds fault with a cap that others change while it looks.
    wait "$holder" || true
    stop_server
}

measure_ranks() {
    move_line 10000 "ranks-$repetition"
    many_commands=$commands many_sent=$sent rate=$(calculate "1e6 * $pushes / $push_us")
    seconds=${quick:+3}
    bench/build/send_loop --sockets 10000 --seconds "${seconds:-5}" >"$work/send_loop.json"
    record ranks "$rate" "$(figure sent_per_second "$work/send_loop.json")"
    move_line 5000 "fewer-$repetition"
    record ranks_commands "$many_commands" "$commands"
    record ranks_sent "$many_sent" "$sent"
}

# --- What people in line are told of their wait, beside what it was ----------------------------------------------------

measure_estimates() {
    start_server
    # 1,500 people, 100 at once for two seconds each; some give up, some are gone without a word.
    rush --room "estimates-$repetition" --no-claim --buyers 1500 --max-active 100 --pass-seconds 2 --grace-seconds 2 \
        --join-rate 500 --leave 10 --vanish 5
    record estimates_percent "$(inner estimateErrorPercent p50 "$work/rush.json")"
    record estimates_percent_p90 "$(inner estimateErrorPercent p90 "$work/rush.json")"
    record estimates_seconds "$(inner estimateErrorSeconds p50 "$work/rush.json")"
    stop_server
}

# --- Idle connections: what they cost, and how fast they are made -------------------------------------------------------

# Opens 10,000 connections, and sets rate, grown (bytes of the server) and redis_grown.
idle() { # process, rush's options…
    process=$1
    shift
    before=$(resident_bytes "$process")
    redis_before=$(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    mkfifo "$work/hold"
    .build/release/rush --instances "$server_url" --buyers 10000 --connect-only --json "$work/idle.json" "$@" \
        <"$work/hold" >/dev/null 2>>"$work/rush.log" &
    holder=$!
    exec 7>"$work/hold"
    until [ -s "$work/idle.json" ]; do
        kill -0 "$holder" 2>/dev/null || fail "10,000 connections cannot be opened: $(tail -n 1 "$work/rush.log")"
        sleep 0.1
    done
    sleep 1
    grown=$(($(resident_bytes "$process") - before))
    redis_grown=$(($(redis INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p') - redis_before))
    exec 7>&-
    wait "$holder" || fail "connections were lost"
    rate=$(figure connectedPerSecond "$work/idle.json")
    rm "$work/hold" "$work/idle.json"
}

measure_connections() {
    start_server
    idle "$server"
    ours_rate=$rate ours_grown=$grown ours_redis=$redis_grown
    stop_server
    start_echo
    server_url=http://127.0.0.1:$echo_port
    idle "$yardstick" --echo
    stop_echo
    record memory "$(calculate "$ours_grown / 10000")" "$(calculate "$grown / 10000")"
    record memory_redis "$(calculate "$ours_redis / 10000")"
    record connect "$ours_rate" "$rate"
}
