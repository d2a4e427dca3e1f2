-- dibs_release: orders of one sale that were cancelled or failed give their tickets back, once.
--
-- KEYS  1 state  2 clients  3 returned  4 counts  5 series
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the sale's channel
--       3 the counter: cancelled or failed
--       … for each order: sequence, client
-- Reply how many were released now; -1 when the sale is not known, which has to be asked again later.
--
-- The client's item is the gate. An entry in the stream stays: its committer finds the order cancelled and settles it.
local function release(keys, args)
    if redis.call('EXISTS', keys[1]) == 0 then return -1 end
    local clients = {}
    for index = 4, #args, 2 do clients[#clients + 1] = args[index + 1] end
    local owned = lookup(keys[2], clients, 1, #clients, {})
    local changed, tickets = {}, {}
    for index = 4, #args, 2 do
        local client = args[index + 1]
        local ticket, _, _, first, last = find_item(owned[client], args[index])
        if ticket then
            local others = without_item(owned[client], first, last)
            tickets[#tickets + 1] = ticket
            owned[client] = others
            changed[client] = others
        end
    end
    if #tickets == 0 then return 0 end
    store_items(keys[2], changed)
    count(keys[4], keys[5], clock(args[1]), { [args[3]] = #tickets })
    return_tickets(keys[1], keys[3], args[2], tickets)
    return #tickets
end

redis.register_function { function_name = 'dibs_release', callback = release, flags = { 'allow-oom' } }
