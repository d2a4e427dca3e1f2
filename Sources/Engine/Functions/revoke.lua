-- dibs_revoke: a token is refused from now on, until it would have expired.
--
-- KEYS  1 revoked
-- ARGV  1 the channel  2 the token's id  3 when it expires, in ms
-- Reply 1 when it is new; 0 when it was revoked before.
local function revoke(keys, args)
    local new = redis.call('ZADD', keys[1], args[3], args[2])
    redis.call('PUBLISH', args[1], args[3] .. ' ' .. args[2])
    return new
end

redis.register_function('dibs_revoke', revoke)
