-- dibs_room_spend: passes are spent: their places fall free.
--
-- ARGV  … for each: client, the pass (empty: whichever it has), the last moment of issue in ms
-- Reply { summary, outcomes to be told, how many were spent }
local function spend(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local count = 0
    for index = at, #args, 3 do
        local client = args[index]
        local token, issued = pass_of(redis.call('HGET', room.passes_key, client))
        if token and (args[index + 1] == '' or args[index + 1] == token) and issued <= tonumber(args[index + 2]) then
            end_pass(room, client, token, 'spent')
            count = count + 1
        end
    end
    return { proceed(room), room.untold, count }
end

redis.register_function { function_name = 'dibs_room_spend', callback = spend, flags = { 'allow-oom' } }
