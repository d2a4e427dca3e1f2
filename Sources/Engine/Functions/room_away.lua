-- dibs_room_away: a gateway lost the last connection of clients: their places run out after the grace.
--
-- ARGV  … the gateway's number, the message for the clients' channels, then for each: client, its channel
-- Reply how many places this gateway had held.
--
-- Another gateway may have a connection of the same client: it hears the message, and holds the place from then on.
local function away(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    -- Every place is kept anew when the draw ends.
    if room.drawing ~= '' then return 0 end
    local holder = HELD + tonumber(args[at])
    local count = 0
    for index = at + 2, #args, 2 do
        local number = redis.call('HGET', room.members_key, args[index])
        if number and presence_of(room, tonumber(number)) == holder then
            keep_until(room, tonumber(number), room.now + room.grace * 1000)
            redis.call('PUBLISH', args[index + 1], args[at + 1])
            count = count + 1
        end
    end
    -- Schedulers have to know when to look.
    if count > 0 then room.moved = true end
    close_room(room)
    return count
end

redis.register_function { function_name = 'dibs_room_away', callback = away, flags = { 'allow-oom' } }
