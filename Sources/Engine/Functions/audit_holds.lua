-- dibs_audit_holds: reservations, whether their seats and their clients say the same, and what the log has, at one instant:
-- of a page of all reservations, or of those that are named.
--
-- KEYS  1 state  2 seats  3 holds  4 clients  5 log
-- ARGV  1 cursor of the page, `0` for the first; empty when sequences are named
--       2 about how many reservations a page has
--       … sequences that are named
-- Reply { the next cursor or '0', the performance's epoch or '', sequence, record and fault in turns, sequences in the
--       log's first entries, 1 when the log has more }. Fault: s a seat has another letter · c its client's list lacks it ·
--       '' none
local LOOKED_AT = 1000

local function holds(keys, args)
    local cursor, records = '0', {}
    if args[1] ~= '' then
        local page = redis.call('HSCAN', keys[3], args[1], 'COUNT', args[2])
        cursor, records = page[1], page[2]
    else
        local found = lookup(keys[3], args, 3, #args, {})
        for index = 3, #args do
            if found[args[index]] then
                records[#records + 1] = args[index]
                records[#records + 1] = found[args[index]]
            end
        end
    end
    local letters = redis.call('GET', keys[2]) or ''
    local clients = {}
    for at = 2, #records, 2 do clients[#clients + 1] = string.match(records[at], '^%a (%S+)') or '' end
    local lists = lookup(keys[4], clients, 1, #clients, {})
    local reply = {}
    for at = 1, #records, 2 do
        local sequence, record = records[at], records[at + 1]
        local letter = string.byte(record)
        local fault = ''
        for seat in string.gmatch(string.match(record, '%S+$'), '%d+') do
            if string.byte(letters, tonumber(seat)) ~= letter then fault = 's' end
        end
        local list = lists[clients[(at + 1) / 2]] or ''
        if not string.find(' ' .. list .. ' ', ' ' .. sequence .. ' ', 1, true) then fault = 'c' end
        reply[#reply + 1] = sequence
        reply[#reply + 1] = record
        reply[#reply + 1] = fault
    end
    local logged = {}
    local entries = redis.call('XRANGE', keys[5], '-', '+', 'COUNT', LOOKED_AT)
    for _, entry in ipairs(entries) do logged[#logged + 1] = string.match(entry[2][2], '^%a (%d+)') end
    return { cursor, redis.call('HGET', keys[1], 'epoch') or '', reply, logged, #entries == LOOKED_AT and 1 or 0 }
end

redis.register_function { function_name = 'dibs_audit_holds', callback = holds, flags = { 'no-writes' } }
