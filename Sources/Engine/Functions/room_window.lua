-- dibs_room_window: what the room's sales say: when the first of them opens, and whether there is any that has not
-- ended. When the last one has ended, the line is empty.
--
-- ARGV  … opens in ms (0: at once), live (0/1), the version of what was read: it rises with every registration of a sale
--       of the room, and every change of a window
-- Reply { summary, outcomes to be told, how many were sent home }
local function window(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    if room.drawing ~= '' then return 'D' end
    local opens, live = tonumber(args[at]), tonumber(args[at + 1])
    local version = tonumber(args[at + 2])
    local sent_home = 0
    -- Who read it earlier does not bring a sale back, or send people home from a newer one. Of one version, the clock
    -- only ends sales.
    local is_old = version < room.sales_version
        or version == room.sales_version and (live > room.live or live == room.live and opens < room.opens)
    if version > room.sales_version then change(room, 'sales_version', version) end
    if not is_old and (opens ~= room.opens or live ~= room.live) then
        if room.live == 1 and live == 0 and room.waiting > 0 then
            sent_home = room.waiting
            redis.call('RENAME', room.members_key, room.cleared_key)
            redis.call('EXPIRE', room.cleared_key, FINISHED_MS / 1000)
            change(room, 'head', room.next)
            add(room, 'closed', sent_home)
            room.waiting = 0
            room.kind = 'x'
        end
        change(room, 'opens', opens)
        change(room, 'live', live)
        room.moved = true
    end
    return { proceed(room), room.untold, sent_home }
end

redis.register_function { function_name = 'dibs_room_window', callback = window, flags = { 'allow-oom' } }
