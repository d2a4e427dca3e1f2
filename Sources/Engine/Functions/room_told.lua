-- dibs_room_told: outcomes were told: they leave the outbox.
--
-- ARGV  … outcomes
-- Reply how many were there.
local function told(keys, args)
    local count = 0
    for index = 4 + tonumber(args[3]), #args do count = count + redis.call('ZREM', keys[11], args[index]) end
    return count
end

redis.register_function { function_name = 'dibs_room_told', callback = told, flags = { 'allow-oom' } }
