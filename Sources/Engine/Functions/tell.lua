-- dibs_tell: appends outcomes to clients' logs and publishes them, each once.
--
-- KEYS  the clients' logs, each also the name of the client's channel
-- ARGV  1 how many outcomes a log keeps
--       2 how many seconds it lives after the last
--       … for each outcome: the number of its key, identity, encoded outcome
-- Reply the offsets, in order, separated by spaces.
--
-- An identity that is in the log already keeps its offset, and nothing is published.
--
-- The committer tells once more that an order was accepted, as it tells the order's end. When many outcomes came in
-- between, the first telling has left the log: so `a…` is remembered until the end, under the same name with another
-- first letter, leaves it too.
local function forget(key, offset)
    local entry = redis.call('HGET', key, offset)
    if not entry then return end
    local identity = string.match(entry, '^[^\t]*')
    if string.sub(identity, 1, 1) == 'a' then
        redis.call('HDEL', key, offset)
    else
        redis.call('HDEL', key, offset, 'i' .. identity, 'ia' .. string.sub(identity, 2))
    end
end

local function tell(keys, args)
    local limit, seconds = tonumber(args[1]), args[2]
    local offsets, grown = {}, {}
    for index = 3, #args, 3 do
        local key = keys[tonumber(args[index])]
        local identity, outcome = args[index + 1], args[index + 2]
        local found = redis.call('HMGET', key, 'n', 'i' .. identity)
        local offset = found[2]
        if not offset then
            local last = tonumber(found[1] or '0') + 1
            offset = decimal(last)
            redis.call('HSET', key, 'n', offset, offset, identity .. '\t' .. outcome, 'i' .. identity, offset)
            if last > limit then forget(key, decimal(last - limit)) end
            redis.call('PUBLISH', key, offset .. '\t' .. outcome)
            grown[key] = true
        end
        offsets[#offsets + 1] = offset
    end
    for key in pairs(grown) do redis.call('EXPIRE', key, seconds) end
    return table.concat(offsets, ' ')
end

redis.register_function('dibs_tell', tell)
