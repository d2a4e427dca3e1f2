# Makes the Markdown tables of scripts/bench.sh: from lines of what, ours, the yardstick's, and the generator's processor time
# for each, with tabs between. Of several lines of the same, the median is shown, and the least and the most as the spread.
BEGIN {
    FS = "\t"
    loop = "bare `send()` loop in C, 10,000 sockets, same reader"
    echo = "echo of the same bytes by libwebsockets in C, same generator"
    goal("goal_ranks", "places a second told to 10,000 who wait, a different text each, from the `PATCH` to the last of them", \
        loop, ">=", 0.95)
    goal("goal_flowing", "the same, from the first who is told to the last", loop, ">=", 0.95)
    goal("goal_nchan", "places a second told, from the `PATCH` to the last", "nginx with nchan publishing one text of that length, same reader", ">=", 1)
    goal("goal_accepted", "claims a second over 1,000 WebSockets, one in flight each, all accepted, being committed", echo, ">=", 0.7)
    goal("goal_accepted_p99", "the same: ms from claim to result, p99", echo, "<=", 1.5)
    goal("goal_sold_out", "the same, sold out: claims a second", echo, ">=", 0.9)
    goal("goal_function", "accepted claims a second of `dibs_claim`, 64 a call as the server calls it", \
        "`redis-benchmark -P 16`: `SADD`, `DECR`, `XADD` as one function", ">=", 0.5)
    goal("goal_commit", "orders a second from the stream to PostgreSQL, with points and statistics, clients told", \
        "`COPY` of the same rows into the same tables", ">=", 0.6)
    goal("goal_service", "claims a second from the first sent to the last confirmed, all at once", \
        "FastAPI, uvicorn, redis-py, asyncpg: same gate and stream, same generator", ">=", 8)
    goal("goal_memory", "bytes of the server for an idle client that waits in a line", "idle connection of the echo", "value<=", 3584)
    goal("goal_connect", "clients a second: handshake, `connect`, token checked, `join`", \
        "handshakes a second of the echo", ">=", 0.5)
    goal("goal_idle", "percent of a core for 15,000 waiters of a line that stands still", "", "value<=", 1)
    goal("goal_start", "ms from `dibs serve` to ready, no sales", "", "value<=", 300)
    goal("goal_start_sales", "the same, with the sales of this run", "", "value<=", 300)

    row("claims_sold_out", "claims a second over 1,000 WebSockets, sold out", "`redis-benchmark -P 16`, the same function")
    row("claims_sold_out_single", "the same", "`redis-benchmark -P 1`, the same function")
    row("claims_accepted", "claims a second over 1,000 WebSockets, all accepted, being committed", \
        "`redis-benchmark -P 16`, the same function, nothing committed")
    row("claims_accepted_single", "the same", "`redis-benchmark -P 1`, the same function, nothing committed")
    row("broadcast", "frames a second to 10,000 watchers", "bare `send()` loop in C, 10,000 sockets")
    row("holds_taken", "holds of one taken seat a second, decided, 1,000 WebSockets", "claims, sold out, same generator")
    row("holds_taken_room", "the same", "claims, sold out, behind a waiting room: with a pass, as holds")
    row("holds_free", "holds of free seats a second, being written down", "claims, accepted, being committed, same generator")
    row("seating_one", "ms from `watch` to all 100,000 seats, one watcher, p50", "compact")
    row("seating_many", "the same, 1,000 watchers at once, p50", "compact")
    row("seating_last", "the same, the last of them", "compact")
    row("seating_bytes", "bytes of that answer", "compact")
    row("changes_p50", "ms from asking for a hold to the last of 5,000 watchers of 100,000 seats, p50", \
        "for a claim, of a sale")
    row("changes_p99", "the same, p99", "the same")
    row("changes_max", "the same, most", "the same")
    row("nchan_two", "places a second told, from the `PATCH` to the last, one process", "nchan with two worker processes")
    row("decided_only", "claims a second, accepted, as above, with the committer elsewhere", echo)
    row("server_refused", "µs of the server's processor time for a claim, sold out", "µs of the echo for a frame")
    row("server_decided", "the same, accepted, with the committer elsewhere", "the same")
    row("server_accepted", "the same, accepted, committed and told", "the same")
    row("function_single", "accepted claims a second of `dibs_claim`, one a call, 16 in flight", \
        "the least function, as above")
    row("commit", "orders a second from the stream to PostgreSQL, price 0, as above", "`COPY` of the same rows")
    row("ranks", "places a second told to 10,000 who wait, by the server's own clock while it tells", loop)
    row("ranks_commands", "commands of Redis for moving a line 20 times, 10,000 connected", "5,000 connected")
    row("ranks_sent", "bytes that Redis sent for that", "5,000 connected")
    row("line_join", "µs of Redis for joining a line of 5,000,000", "a line of 5,000")
    row("line_tick", "µs of Redis for a scheduler's tick in a line of 5,000,000", "a line of 5,000")
    row("line_rank", "µs for asking a place by REST in a line of 5,000,000, p50", "a line of 5,000")
    row("line_snapshot", "µs until a gateway knows a line of 5,000,000", "a line of 5,000")
    other("line_snapshot_bytes", "what it reads for that", "bytes")
    other("line_memory", "Redis' memory for a waiter in a line of 5,000,000, names of 13 characters", "bytes")
    other("estimates_percent", "error of `estimatedSeconds`, 1,500 in line, 100 at once for 2 s, 15 % give up: half within", "%")
    other("estimates_percent_p90", "the same: 90 % within", "%")
    other("estimates_seconds", "the same: half within", "s")
    other("told_first", "from the `PATCH` to the first who is told a place", "ms")
    other("told_extra", "texts for each place told (1: nobody was told twice)", "")
    other("claims_p50_sold_out", "claim to result, sold out, 1,000 in flight, C generator: p50", "ms")
    other("claims_p99_sold_out", "the same: p99", "ms")
    other("claims_p50_accepted", "claim to result, accepted, 1,000 in flight, C generator: p50", "ms")
    other("claims_confirmed", "claims confirmed a second meanwhile", "")
    other("service_dibs_workers", "worker processes of Dibs for all claims at once", "")
    other("service_python_workers", "worker processes of the Python service", "")
    other("waiting_redis", "Redis' memory for a client that waits in a line", "bytes")
    other("start_sales", "sales that a server found when it started", "")
    other("claims_sold_out_p50", "claim to result, sold out, 1,000 in flight: p50", "ms")
    other("claims_sold_out_p99", "the same: p99", "ms")
    other("claims_accepted_p50", "claim to result, accepted, 1,000 in flight: p50", "ms")
    other("claims_accepted_p99", "the same: p99", "ms")
    other("holds_taken_p50", "hold to answer, taken, 1,000 in flight: p50", "ms")
    other("holds_taken_p99", "the same: p99", "ms")
    other("holds_free_p50", "hold to answer, free, 1,000 in flight: p50", "ms")
    other("holds_free_p99", "the same: p99", "ms")
    other("changes_answer_p50", "from a hold's answer to the last of 5,000 watchers: p50", "ms")
    other("changes_answer_p99", "the same: p99", "ms")
    other("changes_answer_max", "the same: most", "ms")
    other("broadcast_p99", "claim to result while 10,000 watch, 100 claims a second: p99", "ms")
    other("claims_sold_out_generator", "processor time of the load generator for a refused claim", "µs")
    other("claims_accepted_generator", "for an accepted one with its confirmation", "µs")
    other("broadcast_generator", "for a frame to a watcher", "µs")
}
function goal(key, what, yardstick, relation, bound) {
    goals[++goal_count] = key
    name[key] = what
    against[key] = yardstick
    relations[key] = relation
    bounds[key] = bound
}
function row(key, what, yardstick) { rows[++row_count] = key; name[key] = what; against[key] = yardstick }
function other(key, what, unit) { others[++other_count] = key; name[key] = what; units[key] = unit }
{
    n = ++number[$1]
    ours[$1, n] = $2
    theirs[$1, n] = $3
    cost[$1, n] = $4
    their_cost[$1, n] = $5
    ratio[$1, n] = $3 > 0 ? $2 / $3 : 0
}
# Sorts the repetitions of one thing into `sorted`, from 1 on.
function sort(values, key, count,    i, j, value) {
    for (i = 1; i <= count; i++) {
        value = values[key, i] + 0
        for (j = i - 1; j > 0 && sorted[j] > value; j--) sorted[j + 1] = sorted[j]
        sorted[j + 1] = value
    }
}
function grouped(value,    text, result) {
    text = sprintf("%.0f", value)
    while (length(text) > 3) {
        result = "," substr(text, length(text) - 2) result
        text = substr(text, 1, length(text) - 3)
    }
    return text result
}
function plain(value) { return value >= 100 ? grouped(value) : sprintf(value < 10 ? "%.2f" : "%.1f", value) }
function median(count) { return count % 2 ? sorted[(count + 1) / 2] : (sorted[count / 2] + sorted[count / 2 + 1]) / 2 }
function shown(values, key,    count) {
    count = number[key]
    sort(values, key, count)
    return count > 1 ? plain(median(count)) " (" plain(sorted[1]) "–" plain(sorted[count]) ")" : plain(sorted[1])
}
function shown_ratio(key,    count) {
    count = number[key]
    sort(ratio, key, count)
    if (count == 1) return sprintf("%.2f", sorted[1])
    return sprintf("%.2f (%.2f–%.2f)", median(count), sorted[1], sorted[count])
}
# Whether the median is what was meant.
function verdict(key,    value) {
    if (relations[key] ~ /value/) sort(ours, key, number[key])
    else sort(ratio, key, number[key])
    value = median(number[key])
    return (relations[key] ~ />/ ? value >= bounds[key] : value <= bounds[key]) ? "met" : "**not met**"
}
function wanted(key) {
    return (relations[key] ~ />/ ? "≥ " : "≤ ") (relations[key] ~ /value/ ? grouped(bounds[key]) : bounds[key] " ×")
}
function generator(key) {
    return cost[key, 1] == "" ? "" : shown(cost, key) " / " shown(their_cost, key)
}
END {
    for (i = 1; i <= goal_count; i++) {
        key = goals[i]
        if (!number[key]) continue
        if (!has_goals++) {
            print "| what | Dibs | beside | | ratio | goal | | generator, µs each |"
            print "|---|---|---|---|---|---|---|---|"
        }
        printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name[key], shown(ours, key), against[key], \
            theirs[key, 1] == "" ? "" : shown(theirs, key), theirs[key, 1] == "" ? "" : shown_ratio(key), wanted(key), \
            verdict(key), generator(key)
    }
    if (has_goals) print ""
    for (i = 1; i <= row_count; i++) {
        key = rows[i]
        if (!number[key]) continue
        if (!has_rows++) {
            print "| what | Dibs | yardstick | | ratio |"
            print "|---|---|---|---|---|"
        }
        printf "| %s | %s | %s | %s | %s |\n", name[key], shown(ours, key), against[key], shown(theirs, key), shown_ratio(key)
    }
    if (has_rows) print ""
    for (i = 1; i <= other_count; i++) {
        key = others[i]
        if (!number[key]) continue
        if (!has_others++) {
            print "| what else | |"
            print "|---|---|"
        }
        printf "| %s | %s %s |\n", name[key], shown(ours, key), units[key]
    }
    most = 0
    for (key in number) if (number[key] > most) most = number[key]
    if (most > 1) printf "\nMedian of up to %d repetitions (least–most); ratios are of each repetition's own pair.\n", most
    else print "\nOne short repetition: for a first look, not for the record."
}
