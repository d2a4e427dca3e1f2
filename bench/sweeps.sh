# To be sourced by scripts/bench.sh: how cost grows with clients, waiters, sales, instances and workers. A few points each, a
# second or two long; bench/plot.py draws them.
# shellcheck shell=sh disable=SC2154 # work, … come from bench.sh

# One point: of which drawing, how many of it there are, whose line, and how much.
point() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" | tee -a "$work/sweeps.tsv"; }

sweep_clients() {
    start_server
    sale=$(sold_out_sale)
    for count in 100 500 2000 8000; do
        in_flight "$port" --watch "$server" --tokens "$work/tokens" --connections "$count" --rounds $((80000 / count)) \
            --sales "$sale" --outcome sold_out
        point clients "$count" Dibs "$(figure watchedUs "$work/flight.json")"
    done
    stop_server
    start_echo
    for count in 100 500 2000 8000; do
        in_flight "$echo_port" --watch "$yardstick" --connections "$count" --rounds $((80000 / count))
        point clients "$count" 'echo in C' "$(figure watchedUs "$work/flight.json")"
    done
    stop_yardstick
}

# From the first who is told a place to the last, with as many moves as it takes to be some seconds.
sweep_waiters() {
    for count in 1000 3000 10000; do
        room=sweep-$count
        start_server
        admin POST /api/rooms "{\"id\":\"$room\",\"maxActive\":1,\"passSeconds\":86400}" >/dev/null
        publishing PATCH "/api/rooms/$room" '{"maxActive":##########}' "$(cat "$work/authorization")$(printf '\r')"
        tell "$port" $((count + count / 50 * 7)) 12 --tokens "$work/tokens" --room "$room" --from $((1 + count / 50)) \
            --step $((count / 50)) --begins '{"type":"rank"'
        stop_server
        point waiters "$count" Dibs "$(calculate "1e6 / $(figure flowingPerSecond "$work/told.json")")"
        bytes=$(figure bytesPerFrame "$work/told.json")
        start_push_loop "$(calculate "int($bytes + 0.5)")"
        publishing POST /publish ''
        tell "$push_port" "$count" 12
        stop_yardstick
        point waiters "$count" 'bare send() loop in C' "$(calculate "1e6 / $(figure flowingPerSecond "$work/told.json")")"
    done
}

sweep_sales() {
    start_server
    sold=$(sold_out_sale)
    for count in 1 10 100 300; do
        while [ "$(echo "$sold" | tr , '\n' | wc -l)" -lt "$count" ]; do sold=$sold,$(sold_out_sale); done
        in_flight "$port" --watch "$server" --tokens "$work/tokens" --rounds 100 --sales "$sold" --outcome sold_out
        point sales "$count" Dibs "$(figure watchedUs "$work/flight.json")"
    done
    stop_server
}

# The same load on so many instances, and on so many workers of one.
sweep_instances() {
    for count in 1 2 4; do
        ports= servers=
        for _ in $(seq "$count"); do
            start_server
            ports=${ports:+$ports,}$port servers="$servers $server"
        done
        in_flight "$ports" --tokens "$work/tokens" --rounds 100 --sales "$(sold_out_sale)" --outcome sold_out
        point instances "$count" 'sold out' "$(figure perSecond "$work/flight.json")"
        in_flight "$ports" --tokens "$work/tokens" --rounds 20 --sales "$(new_sales 20 1000)" --orders
        point instances "$count" 'accepted and committed' "$(figure perSecond "$work/flight.json")"
        for server in $servers; do stop_server; done
    done
}

sweep_workers() {
    for count in 1 2 4; do
        DIBS_WORKERS=$count start_server
        in_flight "$port" --tokens "$work/tokens" --rounds 100 --sales "$(sold_out_sale)" --outcome sold_out
        point workers "$count" 'sold out' "$(figure perSecond "$work/flight.json")"
        in_flight "$port" --tokens "$work/tokens" --rounds 20 --sales "$(new_sales 20 1000)" --orders
        point workers "$count" 'accepted and committed' "$(figure perSecond "$work/flight.json")"
        stop_server
    done
}

sweep() {
    : >"$work/sweeps.tsv"
    for drawing in clients waiters sales instances workers; do "sweep_$drawing"; done
}
