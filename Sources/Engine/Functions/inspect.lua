-- dibs_inspect: a sale's state, counts and lengths at one instant.
--
-- KEYS  1 state  2 clients  3 returned  4 orders  5 counts
-- Reply {} when the sale is not known; else { fields of the state, counts, tickets owned, tickets returned, orders in
--       the stream }
--
-- Where a client may own several, tickets are counted over all clients: for the auditor, not for every request.
local function inspect(keys)
    local state = redis.call('HGETALL', keys[1])
    if #state == 0 then return {} end
    local owned
    if redis.call('HGET', keys[1], 'limit') == '1' then
        owned = redis.call('HLEN', keys[2])
    else
        owned = 0
        for _, items in ipairs(redis.call('HVALS', keys[2])) do
            local _, spaces = string.gsub(items, ' ', '')
            owned = owned + spaces + 1
        end
    end
    return { state, redis.call('HGETALL', keys[5]), owned, redis.call('LLEN', keys[3]), redis.call('XLEN', keys[4]) }
end

redis.register_function { function_name = 'dibs_inspect', callback = inspect, flags = { 'no-writes' } }
