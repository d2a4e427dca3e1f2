-- dibs_bury: gives gateways up for dead that have not beaten for some time, and one that says goodbye.
--
-- KEYS  1 processes  2 dead  3 watch
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 how long is too long, in ms
--       3 the number of one that says goodbye, or 0
--       4 the number of one whose places are all let go, or 0
--       5 the channel of all rooms, on which a death is told
-- Reply all that are dead and whose places are to be let go: number, last beat, …
local function bury(keys, args)
    local now, patience = clock(args[1]), tonumber(args[2])
    -- Whoever was not heard while nobody listened (Redis was away) may be alive: silence counts from when the watch began.
    local watch = redis.call('HMGET', keys[3], 'since', 'last')
    local since, last = tonumber(watch[1] or now), tonumber(watch[2] or 0)
    if now - last > patience then since = now end
    redis.call('HSET', keys[3], 'since', decimal(since), 'last', decimal(now))
    local dead = {}
    if since <= now - patience then
        dead = redis.call('ZRANGEBYSCORE', keys[1], '-inf', decimal(now - patience), 'WITHSCORES')
        for index = 2, #dead, 2 do dead[index] = decimal(math.max(tonumber(dead[index]), since)) end
    end
    if args[3] ~= '0' and redis.call('ZSCORE', keys[1], args[3]) then
        dead[#dead + 1] = args[3]
        dead[#dead + 1] = decimal(now)
    end
    for index = 1, #dead, 2 do
        redis.call('ZREM', keys[1], dead[index])
        redis.call('ZADD', keys[2], dead[index + 1], dead[index])
    end
    -- Others may have connections of the same clients: they hold their places again.
    if #dead > 0 then redis.call('PUBLISH', args[5], '\tdead') end
    if args[4] ~= '0' then redis.call('ZREM', keys[2], args[4]) end
    return redis.call('ZRANGE', keys[2], 0, 99, 'WITHSCORES')
end

redis.register_function { function_name = 'dibs_bury', callback = bury, flags = { 'allow-oom' } }
