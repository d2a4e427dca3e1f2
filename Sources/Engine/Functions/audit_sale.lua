-- dibs_audit_sale: what a sale's own numbers say at one instant. Costs the same however many clients there are.
--
-- KEYS  1 state  2 clients  3 returned  4 orders  5 counts
-- Reply {} when the sale is not known; else { fields of the state, counts, clients that own something, tickets
--       returned, orders in the stream, the oldest of them or '' }
local function sale(keys)
    local state = redis.call('HGETALL', keys[1])
    if #state == 0 then return {} end
    local oldest = redis.call('XRANGE', keys[4], '-', '+', 'COUNT', 1)[1]
    return {
        state, redis.call('HGETALL', keys[5]), redis.call('HLEN', keys[2]), redis.call('LLEN', keys[3]),
        redis.call('XLEN', keys[4]), oldest and oldest[2][2] or '',
    }
end

redis.register_function { function_name = 'dibs_audit_sale', callback = sale, flags = { 'no-writes' } }
