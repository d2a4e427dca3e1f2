-- dibs_room_define: makes a room known, or changes its limits.
--
-- ARGV  … the room's channel of all rooms, the room's id, version, maxActive, pass seconds, admissions a minute (0 none),
--       grace seconds, ordering, drawn (0/1); and for a room that is not known yet, what its sales say, as
--       dibs_room_window takes it: opens in ms, live (0/1), version
-- Reply 1 when it was new or changed; 0 when this version or a newer one is known.
local function define(keys, args)
    local at = 4 + tonumber(args[3])
    local known = redis.call('HGET', keys[1], 'version')
    if known and tonumber(known) >= tonumber(args[at + 2]) then return 0 end
    local now = decimal(clock(args[1]))
    redis.call('HSET', keys[1], 'version', args[at + 2], 'max', args[at + 3], 'pass', args[at + 4],
        'minute', args[at + 5], 'grace', args[at + 6], 'ordering', args[at + 7])
    -- What is drawn stays drawn.
    if args[at + 8] == '1' then redis.call('HSET', keys[1], 'drawn', '1') end
    if not known then
        -- Before anybody can join.
        redis.call('HSET', keys[1], 'born', now, 'opens', args[at + 9], 'live', args[at + 10],
            'sales_version', args[at + 11])
    end
    redis.call('PUBLISH', args[at], args[at + 1])
    local room = open_room(keys, args)
    if room.peak > room.max then change(room, 'peak', room.max) end
    -- A faster pace holds from now on, not after the pause of the slower one.
    local interval, tat = pacing(room)
    if interval == 0 then tat = 0 end
    if tat < room.tat then change(room, 'tat', tat) end
    room.moved = true
    close_room(room)
    return 1
end

redis.register_function { function_name = 'dibs_room_define', callback = define, flags = { 'allow-oom' } }
