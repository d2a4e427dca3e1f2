-- dibs_room_join: lets any number of clients join, in their order; those who are there already keep what they have.
--
-- ARGV  … for each: client, the number of the gateway that holds its connection (0: it polls)
-- Reply { summary, outcomes to be told, then one word a client:
--         w<number>:<rank>  waits · p<token>:<expires>  is admitted · j  told no }
local function join(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    -- Who comes after the opening is not drawn, but queues behind those who are.
    if room.drawing ~= '' or is_recalling(room) or awaits_draw(room) and room.opens <= room.now then return 'D' end
    -- What ran out before must not be found alive.
    expire(room)
    local clients, holders = {}, {}
    for index = at, #args, 2 do
        clients[#clients + 1] = args[index]
        holders[#holders + 1] = tonumber(args[index + 1])
    end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local numbers = lookup(room.members_key, clients, 1, #clients, {})
    local line, line_holders = {}, {}
    local rejected = {}
    for index, client in ipairs(clients) do
        if passes[client] then
            local token, issued, expires, seen = pass_of(passes[client])
            if seen == '0' then
                passes[client] = token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' 1'
                redis.call('HSET', room.passes_key, client, passes[client])
            end
        elseif numbers[client] then
            keep(room, tonumber(numbers[client]), holders[index])
        elseif room.ordering == 'reject' then
            rejected[client] = true
        else
            line[#line + 1] = client
            line_holders[#line] = holders[index]
            numbers[client] = decimal(room.next + #line)
        end
    end
    line_up(room, line, line_holders)
    local text = proceed(room)
    local words = { text, room.untold }
    local admitted
    for _, client in ipairs(clients) do
        local word
        if rejected[client] then
            word = 'j'
        else
            local pass = passes[client]
            if not pass and tonumber(numbers[client]) <= room.head then
                admitted = admitted or lookup(room.passes_key, clients, 1, #clients, {})
                pass = admitted[client]
            end
            if pass then
                local token, _, expires = pass_of(pass)
                word = 'p' .. token .. ':' .. decimal(expires)
            else
                word = 'w' .. numbers[client] .. ':' .. decimal(rank(room, tonumber(numbers[client])))
            end
        end
        words[#words + 1] = word
    end
    return words
end

redis.register_function('dibs_room_join', join)
