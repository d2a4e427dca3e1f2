-- dibs_audit_orders: who owns what, and what of it is still in the stream, at one instant: of a page of all clients, or
-- of clients that are named.
--
-- KEYS  1 state  2 clients  3 orders  4 replayed
-- ARGV  1 cursor of the page, `0` for the first; empty when clients are named
--       2 about how many clients a page has; or how many are named
--       … clients that are named; then sequences to be looked for in the stream besides
-- Reply { the next cursor or '0', the sale's epoch or '', client and items in turns, sequences that are in the stream }
--
-- Confirmed items are not looked for: the stream has none of them, but while one is settled.
local function orders(keys, args)
    local cursor, owned, looked_for = '0', {}, {}
    if args[1] ~= '' then
        local page = redis.call('HSCAN', keys[2], args[1], 'COUNT', args[2])
        cursor, owned = page[1], page[2]
    else
        local named = tonumber(args[2])
        local found = lookup(keys[2], args, 3, 2 + named, {})
        for index = 3, 2 + named do
            owned[#owned + 1] = args[index]
            owned[#owned + 1] = found[args[index]] or ''
        end
        for index = 3 + named, #args do looked_for[#looked_for + 1] = args[index] end
    end
    local unsettled = {}
    if redis.call('XLEN', keys[3]) > 0 then
        for at = 2, #owned, 2 do
            for sequence in string.gmatch(owned[at], '(%d+):%d+:%d+:a') do looked_for[#looked_for + 1] = sequence end
        end
        local has_replayed = redis.call('HLEN', keys[4]) > 0
        for _, sequence in ipairs(looked_for) do
            local entry = has_replayed and redis.call('HGET', keys[4], sequence) or sequence .. '-0'
            if redis.call('XRANGE', keys[3], entry, entry)[1] then unsettled[#unsettled + 1] = sequence end
        end
    end
    return { cursor, redis.call('HGET', keys[1], 'epoch') or '', owned, unsettled }
end

redis.register_function { function_name = 'dibs_audit_orders', callback = orders, flags = { 'no-writes' } }
