-- dibs_settled: how far a sale's orders are settled.
--
-- KEYS  1 state  2 orders
-- Reply {} when the sale is not known; else { epoch, last sequence, sequence of the oldest order that is not settled or '' }
--
-- The three belong together: a Redis that has lost the sale, or its latest orders, must not look like one that has settled
-- everything. A replayed order has a newer entry than its sequence says, and is not anybody's first.
local function settled(keys)
    local state = redis.call('HMGET', keys[1], 'epoch', 'seq')
    if not state[1] then return {} end
    local oldest = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
    return { state[1], state[2], oldest and string.match(oldest[1], '^%d+') or '' }
end

redis.register_function { function_name = 'dibs_settled', callback = settled, flags = { 'no-writes' } }
