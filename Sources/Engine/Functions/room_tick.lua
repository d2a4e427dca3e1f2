-- dibs_room_tick: what is due by the clock: passes and places that have run out, admissions that the pace allows,
-- outcomes that nobody told.
--
-- Reply { summary, outcomes to be told }
local function tick(keys, args)
    local room = open_room(keys, args)
    if not room then return '?' end
    sweep(room)
    local late = redis.call('ZRANGEBYSCORE', room.outbox_key, '-inf', decimal(room.now - UNTOLD), 'LIMIT', 0, 200)
    for _, outcome in ipairs(late) do room.untold[#room.untold + 1] = outcome end
    -- Not told again before another second is over, unless it was told.
    local again = {}
    for _, outcome in ipairs(late) do
        again[#again + 1] = decimal(room.now)
        again[#again + 1] = outcome
    end
    call_with('ZADD', room.outbox_key, again)
    return { proceed(room), room.untold }
end

redis.register_function { function_name = 'dibs_room_tick', callback = tick, flags = { 'allow-oom' } }
