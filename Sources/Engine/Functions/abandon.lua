-- dibs_abandon: a rebuild was given up: others may try at once.
--
-- KEYS  1 rebuild
-- ARGV  1 token
-- Reply 1; 0 when the token is no longer held.
local function abandon(keys, args)
    if redis.call('GET', keys[1]) ~= args[1] then return 0 end
    return redis.call('DEL', keys[1])
end

redis.register_function { function_name = 'dibs_abandon', callback = abandon, flags = { 'allow-oom' } }
