-- dibs_seats_read: all seats of a performance, unless nothing has changed.
--
-- KEYS  1 state  2 seats  3 deadlines
-- ARGV  1 the event that is known, or empty
-- Reply '?' unknown · '=' nothing has changed since · { event, free, held, sold, due in ms or 0, one letter a seat }
local function read(keys, args)
    local state = redis.call('HMGET', keys[1], 'event', 'free', 'held', 'sold')
    if not state[1] then return '?' end
    if state[1] == args[1] then return '=' end
    return { state[1], state[2], state[3], state[4], decimal(due_of(keys[3])), redis.call('GET', keys[2]) }
end

redis.register_function { function_name = 'dibs_seats_read', callback = read, flags = { 'no-writes' } }
