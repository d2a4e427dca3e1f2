-- dibs_recall: processes say that they bring in what they know since Redis became what it is, and that they have.
--
-- KEYS  1 busy: processes by the ms at which they said so last  2 done
-- ARGV  1 the process  2 b it is at it, d it has done so, - it only asks
-- Reply { how many are at it, how many have done so }
--
-- Who was at it and says nothing for two seconds is not waited for.
local SILENCE, LIFE = 2000, 3600

local function recall(keys, args)
    local now = clock('')
    if args[2] == 'b' then
        redis.call('ZADD', keys[1], decimal(now), args[1])
        redis.call('EXPIRE', keys[1], LIFE)
    elseif args[2] == 'd' then
        redis.call('ZREM', keys[1], args[1])
        redis.call('SADD', keys[2], args[1])
        redis.call('EXPIRE', keys[2], LIFE)
    end
    return { redis.call('ZCOUNT', keys[1], decimal(now - SILENCE), '+inf'), redis.call('SCARD', keys[2]) }
end

redis.register_function { function_name = 'dibs_recall', callback = recall, flags = { 'allow-oom' } }
