-- dibs_room_snapshot: all that is needed to compute ranks.
--
-- Reply { summary, origin, bits of the numbers from origin + 1 on }
local function snapshot(keys, args)
    local room = open_room(keys, args)
    if not room then return '?' end
    return { summary(room), decimal(room.origin), redis.call('GET', room.gone_key) or '' }
end

redis.register_function { function_name = 'dibs_room_snapshot', callback = snapshot, flags = { 'no-writes' } }
