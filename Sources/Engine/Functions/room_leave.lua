-- dibs_room_leave: clients leave the line, or give their pass back.
--
-- ARGV  … clients
-- Reply { summary, outcomes to be told, then one word a client: l it waited, p it had a pass, n neither }
local function leave(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    if room.drawing ~= '' then return 'D' end
    local clients = {}
    for index = at, #args do clients[#clients + 1] = args[index] end
    -- Nor does it come back with those whom gateways bring back.
    if room.returning_key then call_with('ZREM', room.returning_key, clients) end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local numbers = lookup(room.members_key, clients, 1, #clients, {})
    local reply, gone = { '', room.untold }, {}
    for index, client in ipairs(clients) do
        if numbers[client] then
            depart(room, client, tonumber(numbers[client]), 'left')
            gone[#gone + 1] = client
            reply[index + 2] = 'l'
        elseif passes[client] then
            end_pass(room, client, pass_of(passes[client]), 'left')
            reply[index + 2] = 'p'
        else
            reply[index + 2] = 'n'
        end
        -- Named twice, it has left once.
        numbers[client], passes[client] = false, false
    end
    if #gone > 0 then
        finish(room, gone)
        measure(room, 0, #gone)
    end
    reply[1] = proceed(room)
    return reply
end

redis.register_function { function_name = 'dibs_room_leave', callback = leave, flags = { 'allow-oom' } }
