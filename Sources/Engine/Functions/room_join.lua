-- dibs_room_join: lets any number of clients join, in their order; those who are there already keep what they have.
--
-- ARGV  … for each: client, the number of the gateway that holds its connection (0: it polls)
-- Reply { summary, outcomes to be told, then one word a client:
--         w<number>:<rank>  waits · p<token>:<expires>  is admitted · j  told no }
local function join(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    -- Who comes after the opening is not drawn, but queues behind those who are.
    if room.drawing ~= '' or awaits_draw(room) and room.opens <= room.now then return 'D' end
    -- What ran out before must not be found alive.
    expire(room)
    local clients, holders = {}, {}
    for index = at, #args, 2 do
        clients[#clients + 1] = args[index]
        holders[#holders + 1] = tonumber(args[index + 1])
    end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local numbers = lookup(room.members_key, clients, 1, #clients, {})
    local members, line = {}, {}
    local last = room.next
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
            last = last + 1
            local number = decimal(last)
            numbers[client] = number
            members[#members + 1] = client
            members[#members + 1] = number
            line[#line + 1] = client
            keep(room, last, holders[index])
        end
    end
    if #line > 0 then
        call_with('HSET', room.members_key, members)
        call_with('RPUSH', room.line_key, line)
        if redis.call('EXISTS', room.finished_key) == 1 then call_with('ZREM', room.finished_key, line) end
        if redis.call('EXISTS', room.cleared_key) == 1 then call_with('HDEL', room.cleared_key, line) end
        change(room, 'next', last)
        add(room, 'joined', #line)
        room.waiting = room.waiting + #line
        room.moved = true
    end
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
