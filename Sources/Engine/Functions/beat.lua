-- dibs_beat: a gateway lives.
--
-- KEYS  1 processes  2 dead  3 next
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 its number, or 0 for a fresh one
-- Reply its number: a fresh one too when it was given up for dead. What it held has to be held again then.
local function beat(keys, args)
    local now, number = clock(args[1]), args[2]
    -- A Redis that has lost its data must not give numbers again that gateways still have, which have not beaten since.
    if redis.call('EXISTS', keys[3]) == 0 then redis.call('SET', keys[3], decimal(math.floor(now / 1000) % 1073741824)) end
    if number == '0' or not redis.call('ZSCORE', keys[1], number) then
        -- Redis may have lost the last numbers given: none is given that is in use.
        repeat
            number = decimal(redis.call('INCR', keys[3]))
        until not redis.call('ZSCORE', keys[1], number) and not redis.call('ZSCORE', keys[2], number)
    end
    redis.call('ZADD', keys[1], decimal(now), number)
    return tonumber(number)
end

redis.register_function { function_name = 'dibs_beat', callback = beat, flags = { 'allow-oom' } }
