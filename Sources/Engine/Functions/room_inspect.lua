-- dibs_room_inspect: a room as it stands.
--
-- Reply { summary, fields of the state }
local function inspect(keys, args)
    local room = open_room(keys, args)
    if not room then return '?' end
    return { summary(room, true), redis.call('HGETALL', room.state_key) }
end

redis.register_function { function_name = 'dibs_room_inspect', callback = inspect, flags = { 'no-writes' } }
