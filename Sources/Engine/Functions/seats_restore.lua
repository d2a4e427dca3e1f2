-- dibs_seats_restore: adds reservations that have their seats to a performance under rebuild.
--
-- KEYS  1 rebuild  2 seats  3 holds  4 clients  5 deadlines
-- ARGV  1 token  2 life of the token in ms  3 how many seats there are
--       … for each: sequence, record
-- Reply 1; 0 when the token is no longer held, and nothing was done.
local function restore(keys, args)
    if redis.call('GET', keys[1]) ~= args[1] then return 0 end
    redis.call('PEXPIRE', keys[1], args[2])
    if redis.call('EXISTS', keys[2]) == 0 then redis.call('SET', keys[2], string.rep('f', tonumber(args[3]))) end
    local records, deadlines, clients = {}, {}, {}
    for index = 4, #args, 2 do
        local sequence, record = args[index], read_record(args[index + 1])
        records[#records + 1] = sequence
        records[#records + 1] = args[index + 1]
        clients[#clients + 1] = record.client
        if record.status == 'h' then
            deadlines[#deadlines + 1] = record.expires
            deadlines[#deadlines + 1] = sequence
        end
        local seats = {}
        for seat in string.gmatch(record.seats, '%d+') do seats[#seats + 1] = tonumber(seat) end
        local found = runs(seats)
        for at = 1, #found, 2 do
            redis.call('SETRANGE', keys[2], found[at] - 1, string.rep(record.status, found[at + 1] - found[at] + 1))
        end
    end
    local owned, changed = lookup(keys[4], clients, 1, #clients, {}), {}
    for index, client in ipairs(clients) do
        local sequence = records[2 * index - 1]
        owned[client] = owned[client] and owned[client] .. ' ' .. sequence or sequence
        changed[client] = owned[client]
    end
    call_with('HSET', keys[3], records)
    store_items(keys[4], changed)
    call_with('ZADD', keys[5], deadlines)
    return 1
end

redis.register_function('dibs_seats_restore', restore)
