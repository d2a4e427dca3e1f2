-- dibs_window: opens, closes or cancels a sale: sets its window.
--
-- KEYS  1 state
-- ARGV  1 the channel of all sales  2 the sale's id  3 the sale's channel
--       4 opens in ms  5 closes in ms  6 cancelled (0/1)  7 version
-- Reply 1 when it was set; 0 when the window that is known is as new, or newer; -1 when the sale is not known.
local function window(keys, args)
    local state = redis.call('HMGET', keys[1], 'version', 'left')
    if not state[1] then return -1 end
    if tonumber(state[1]) >= tonumber(args[7]) then return 0 end
    redis.call('HSET', keys[1], 'opens', args[4], 'closes', args[5], 'cancelled', args[6], 'version', args[7])
    local event = redis.call('HINCRBY', keys[1], 'event', 1)
    redis.call('PUBLISH', args[1], args[2])
    announce(args[3], event, tonumber(state[2]), args[7])
    return 1
end

redis.register_function { function_name = 'dibs_window', callback = window, flags = { 'allow-oom' } }
