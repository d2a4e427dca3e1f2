-- dibs_settle: PostgreSQL decided about orders of one sale: they leave the stream, once.
--
-- KEYS  1 state  2 clients  3 returned  4 orders  5 counts  6 series  7 replayed
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the sale's channel
--       3 the consumer group
--       … for each order: entry, sequence, client, status (c confirmed, f failed, x cancelled)
-- Reply how many entries were still there.
--
-- The entry in the stream is the gate: whoever deletes it does the rest. `confirmed` marks the client's item; the other
-- two take it away and return its ticket. An item that is gone was released before (dibs_release), with its ticket.
-- For a sale that is not known only the entries go: what it is rebuilt from knows the rest.
local COUNTERS = { c = 'confirmed', f = 'failed', x = 'cancelled' }

local function settle(keys, args)
    local known = redis.call('EXISTS', keys[1]) == 1
    local entries, open, clients = {}, {}, {}
    for index = 4, #args, 4 do
        entries[#entries + 1] = args[index]
        if redis.call('XDEL', keys[4], args[index]) == 1 then
            open[#open + 1] = index
            clients[#clients + 1] = args[index + 2]
            if args[index] ~= args[index + 1] .. '-0' then redis.call('HDEL', keys[7], args[index + 1]) end
        end
    end
    for from = 1, #entries, CHUNK do
        redis.call('XACK', keys[4], args[3], unpack(entries, from, math.min(from + CHUNK - 1, #entries)))
    end
    if not known or #open == 0 then return #open end

    local owned = lookup(keys[2], clients, 1, #clients, {})
    local changed, tickets, tally = {}, {}, {}
    for _, index in ipairs(open) do
        local sequence, client, status = args[index + 1], args[index + 2], args[index + 3]
        local ticket, _, _, others = find_item(owned[client], sequence)
        if ticket then
            local items = others
            if status == 'c' then
                items = confirm_item(owned[client], sequence)
            else
                tickets[#tickets + 1] = ticket
            end
            owned[client] = items
            changed[client] = items
        end
        -- A replayed order that fails again has failed once: it was counted the first time.
        local failed_again = status == 'f' and args[index] ~= sequence .. '-0'
        if (ticket or status == 'c') and not failed_again then
            local counter = COUNTERS[status]
            tally[counter] = (tally[counter] or 0) + 1
        end
    end
    store_items(keys[2], changed)
    count(keys[5], keys[6], clock(args[1]), tally)
    return_tickets(keys[1], keys[3], args[2], tickets)
    return #open
end

redis.register_function { function_name = 'dibs_settle', callback = settle, flags = { 'allow-oom' } }
