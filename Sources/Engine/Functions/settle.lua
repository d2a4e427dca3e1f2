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
--
-- A failure is its entry's, not its order's: the order may have been replayed meanwhile, or Redis may have lost its
-- latest writes and given the sequence of a committed order again. So it takes the item only when the item is this
-- entry's: it is not confirmed, the order has no newer entry, and the entry is of this epoch. (An item that outlived an
-- epoch came from PostgreSQL, which refuses whatever it doesn't know of that epoch. Entries of an epoch are numbered
-- from epoch * 2^32, so the entry tells its epoch.)
local COUNTERS = { c = 'confirmed', f = 'failed', x = 'cancelled' }

local function settle(keys, args)
    local epoch = redis.call('HGET', keys[1], 'epoch')
    local entries, open, clients, replaced = {}, {}, {}, {}
    for index = 4, #args, 4 do
        entries[#entries + 1] = args[index]
        if redis.call('XDEL', keys[4], args[index]) == 1 then
            open[#open + 1] = index
            clients[#clients + 1] = args[index + 2]
            -- Which entry is the order's newest: its first, unless it was replayed.
            local first = args[index + 1] .. '-0'
            if args[index] ~= first or args[index + 3] == 'f' then
                local newest = redis.call('HGET', keys[7], args[index + 1]) or first
                if newest ~= args[index] then
                    replaced[index] = true
                elseif newest ~= first then
                    redis.call('HDEL', keys[7], args[index + 1])
                end
            end
        end
    end
    for from = 1, #entries, CHUNK do
        redis.call('XACK', keys[4], args[3], unpack(entries, from, math.min(from + CHUNK - 1, #entries)))
    end
    if not epoch or #open == 0 then return #open end

    local base = tonumber(epoch) * 4294967296
    local owned = lookup(keys[2], clients, 1, #clients, {})
    local changed, tickets, tally = {}, {}, {}
    for _, index in ipairs(open) do
        local sequence, client, status = args[index + 1], args[index + 2], args[index + 3]
        local is_older = tonumber(string.match(args[index], '^%d+')) <= base
        local ticket, _, state, first, last = find_item(owned[client], sequence)
        if status == 'f' and (is_older or replaced[index] or state == 'c') then ticket = nil end
        if ticket then
            local items
            if status == 'c' then
                items = confirm_item(owned[client], last)
            else
                items = without_item(owned[client], first, last)
                tickets[#tickets + 1] = ticket
            end
            owned[client] = items
            changed[client] = items
        end
        -- What an older epoch confirmed was counted there, and came with the rebuild. A replayed order that fails again
        -- has failed once: it was counted the first time.
        local is_first = status ~= 'f' or args[index] == sequence .. '-0'
        if status == 'c' and not is_older or status ~= 'c' and ticket and is_first then
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
