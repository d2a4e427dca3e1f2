-- dibs_room_tick: what is due by the clock: passes and places that have run out, admissions that the pace allows,
-- outcomes that nobody told.
--
-- Reply { summary, outcomes to be told }
-- Schedulers tick a room in which somebody waits every second at least, from the moment on when the line forms.
local SILENCE = 2500

local function tick(keys, args)
    local room = open_room(keys, args)
    if not room then return '?' end
    room.is_tick = true
    -- Where nobody ticked, nobody could show a sign of life either (Redis was away), or nobody would have noticed: that
    -- time does not count. Presence counts from the room's birth, which moves.
    local silence = room.now - room.ticked
    if room.had_line and silence > SILENCE then change(room, 'born', room.born + silence) end
    if silence >= GRAIN then change(room, 'ticked', room.now) end
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
