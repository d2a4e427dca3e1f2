-- dibs_renew: whoever rebuilds needs longer before the first call that restores.
--
-- KEYS  1 rebuild
-- ARGV  1 token  2 life of the token in ms
-- Reply 1; 0 when the token is no longer held.
local function renew(keys, args)
    if redis.call('GET', keys[1]) ~= args[1] then return 0 end
    return redis.call('PEXPIRE', keys[1], args[2])
end

redis.register_function { function_name = 'dibs_renew', callback = renew, flags = { 'allow-oom' } }
