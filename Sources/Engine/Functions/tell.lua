-- dibs_tell: appends outcomes to clients' logs and publishes them, each once.
--
-- KEYS  the clients' logs, each also the name of the client's channel
-- ARGV  1 how many outcomes a log keeps
--       2 how many seconds it lives after the last
--       3 which run of Redis this is (dibs_tell_2; an older version's dibs_tell leaves it out)
--       … for each outcome: the number of its key, identity, encoded outcome
-- Reply the offsets, in order, separated by spaces.
--
-- An identity that is in the log already keeps its offset, and nothing is published.
--
-- A Redis that was restarted, or took over, may have lost the end of a log: the same offsets are given again, perhaps to
-- other outcomes. So a log says how long it was (`b`) when this run (`g`) first added to it: who was told more than that in
-- the run before (`h`) may have been told something else; and who was told more than `m` in a run before that one.
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

local function tell(keys, args, run)
    local limit, seconds = tonumber(args[1]), args[2]
    local offsets, grown = {}, {}
    for index = run and 4 or 3, #args, 3 do
        local key = keys[tonumber(args[index])]
        local identity, outcome = args[index + 1], args[index + 2]
        local found = redis.call('HMGET', key, 'n', 'i' .. identity, 'g', 'b', 'm')
        local offset = found[2]
        if not offset then
            local last = tonumber(found[1] or '0') + 1
            if run and found[3] ~= run then
                local base = last - 1
                local shortest = math.min(base, tonumber(found[4] or base), tonumber(found[5] or base))
                redis.call('HSET', key, 'g', run, 'b', decimal(base), 'h', found[3] or '', 'm', decimal(shortest))
            end
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

redis.register_function('dibs_tell', function(keys, args) return tell(keys, args) end)
redis.register_function('dibs_tell_2', function(keys, args) return tell(keys, args, args[3]) end)
