-- dibs_room_hold: a gateway has connections of clients that wait: it holds their places from now on.
--
-- ARGV  … the gateway's number, clients
-- Reply { summary, then one word a client: w<number>:<rank> | p<token>:<expires> | f finished | n never seen }
local function hold(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    if room.drawing ~= '' then return 'D' end
    local holder = tonumber(args[at])
    local clients = {}
    for index = at + 1, #args do clients[#clients + 1] = args[index] end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local numbers = lookup(room.members_key, clients, 1, #clients, {})
    local reply = { summary(room) }
    for _, client in ipairs(clients) do
        local word = 'n'
        if numbers[client] then
            local number = tonumber(numbers[client])
            set_presence(room, number, HELD + holder)
            word = 'w' .. numbers[client] .. ':' .. decimal(rank(room, number))
        elseif passes[client] then
            local token, issued, expires, seen = pass_of(passes[client])
            -- It was admitted while nobody held its place: its connection shows that it is there.
            if seen == '0' then
                redis.call('HSET', room.passes_key, client,
                    token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' 1')
            end
            word = 'p' .. token .. ':' .. decimal(expires)
        elseif redis.call('ZSCORE', room.finished_key, client)
            or redis.call('HEXISTS', room.cleared_key, client) == 1 then
            word = 'f'
        end
        reply[#reply + 1] = word
    end
    return reply
end

redis.register_function { function_name = 'dibs_room_hold', callback = hold, flags = { 'allow-oom' } }
