-- dibs_log: reads a client's log after an offset, and renews its life.
--
-- KEYS  1 the client's log
-- ARGV  1 offset  2 how many outcomes a log keeps  3 how many seconds it lives from now  4 which run of Redis this is
-- Reply { last offset, then offset and encoded outcome of those that are still kept }; and last, where this run has added to
--       it, `b m h` of dibs_tell
local function log(keys, args)
    local state = redis.call('HMGET', keys[1], 'n', 'g', 'b', 'm', 'h')
    local last = tonumber(state[1] or '0')
    local reply = { last }
    if last == 0 then return reply end
    redis.call('EXPIRE', keys[1], args[3])
    local fields = {}
    for offset = math.max(tonumber(args[1]), last - tonumber(args[2])) + 1, last do
        fields[#fields + 1] = decimal(offset)
    end
    local found = lookup(keys[1], fields, 1, #fields, {})
    for _, offset in ipairs(fields) do
        if found[offset] then
            reply[#reply + 1] = tonumber(offset)
            reply[#reply + 1] = string.match(found[offset], '\t(.*)$')
        end
    end
    if args[4] and state[2] == args[4] then reply[#reply + 1] = state[3] .. ' ' .. state[4] .. ' ' .. state[5] end
    return reply
end

redis.register_function { function_name = 'dibs_log', callback = log, flags = { 'allow-oom' } }
