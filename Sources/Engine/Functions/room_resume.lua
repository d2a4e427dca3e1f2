-- dibs_room_resume: those whom gateways brought back (dibs_room_return) join, in the order of their old numbers: 256 a call.
--
-- ARGV  … nothing
-- Reply { summary, outcomes to be told, how many are left }
--
-- Also where lots are to be drawn by now: these joined before. While they are drawn nobody can join; gateways hold all their
-- clients anew afterwards, and who is not there joins then.
local PER_CALL = 256

local function resume(keys, args)
    local room = open_room(keys, args)
    if not room then return '?' end
    if room.drawing ~= '' then
        redis.call('DEL', room.returning_key)
        change(room, 'recalling', 0)
        return { close_room(room), {}, 0 }
    end
    expire(room)
    local returning = redis.call('ZRANGE', room.returning_key, 0, PER_CALL - 1)
    local passes = lookup(room.passes_key, returning, 1, #returning, {})
    local numbers = lookup(room.members_key, returning, 1, #returning, {})
    local clients, holders = {}, {}
    for _, client in ipairs(returning) do
        -- It may have joined by itself since.
        if not passes[client] and not numbers[client] then
            clients[#clients + 1] = client
            holders[#clients] = 0
        end
    end
    line_up(room, clients, holders)
    call_with('ZREM', room.returning_key, returning)
    local left = redis.call('ZCARD', room.returning_key)
    if left == 0 and room.recalling > 0 then change(room, 'recalling', 0) end
    return { proceed(room), room.untold, left }
end

redis.register_function('dibs_room_resume', resume)
