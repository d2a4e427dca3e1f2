-- dibs_audit_seats: what a performance's own numbers and its seats say at one instant. Copies the seats, and looks at none.
--
-- KEYS  1 state  2 seats  3 log  4 counts
-- Reply {} when it is not known; else { fields of the state, a letter a seat, entries in the log, counts }
local function seats(keys)
    local state = redis.call('HGETALL', keys[1])
    if #state == 0 then return {} end
    return { state, redis.call('GET', keys[2]) or '', redis.call('XLEN', keys[3]), redis.call('HGETALL', keys[4]) }
end

redis.register_function { function_name = 'dibs_audit_seats', callback = seats, flags = { 'no-writes' } }
