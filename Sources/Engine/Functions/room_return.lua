-- dibs_room_return: Redis may have lost something; a gateway says who of its connections waits, and which passes it told.
--
-- ARGV  … how many wait, for each of these: client, the number that it had; then for each pass:
--       client, pass, expires
-- Reply { summary, how many are not in the line, passes that are good again }
--
-- From here on nobody joins and nobody is admitted, until dibs_room_resume, or fifteen seconds later.
-- Who is in the line keeps its place, for the grace at least: the gateway holds it when the line goes on. Who isn't is noted with its old number, until all gateways have said theirs and
-- dibs_room_resume lets them join, in that order. A pass counts from when it was given, as far as that can be told.
local function bring_back(keys, args)
    local room, at = open_room(keys, args)
    if not room then
        -- It is about to be made known, and nobody may join before those who waited.
        redis.call('HSET', keys[1], 'recalling', decimal(clock(args[1])))
        return '?'
    end
    change(room, 'recalling', room.now)
    expire(room)
    local count = tonumber(args[at])
    local first = at + 1
    local first_pass = first + 2 * count
    local clients = {}
    for index = first, first_pass - 1, 2 do clients[#clients + 1] = args[index] end
    for index = first_pass, #args, 3 do clients[#clients + 1] = args[index] end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local numbers = lookup(room.members_key, clients, 1, #clients, {})

    local restored = 0
    for index = first_pass, #args, 3 do
        local client, token, expires = args[index], args[index + 1], tonumber(args[index + 2])
        local is_over = expires <= room.now or redis.call('ZSCORE', room.finished_key, client)
            or redis.call('HEXISTS', room.cleared_key, client) == 1
        local other, _, ends = pass_of(passes[client])
        -- Of two that were told, the later one is good.
        if other and other ~= token and not is_over and ends < expires then
            redis.call('HDEL', room.owners_key, other)
            redis.call('ZREM', room.active_key, client)
            room.active = room.active - 1
            passes[client] = nil
        end
        if not passes[client] and not is_over then
            if numbers[client] then depart(room, client, tonumber(numbers[client]), 'admitted') end
            local issued = math.min(room.now, expires - room.pass * 1000)
            passes[client] = token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' 1'
            redis.call('HSET', room.passes_key, client, passes[client])
            redis.call('HSET', room.owners_key, token, client)
            redis.call('ZADD', room.active_key, decimal(expires), client)
            room.active = room.active + 1
            room.moved = true
            restored = restored + 1
        end
    end

    local returning = {}
    for index = first, first_pass - 1, 2 do
        local client = args[index]
        if not passes[client] then
            if numbers[client] then
                keep(room, tonumber(numbers[client]), 0)
            else
                returning[#returning + 1] = args[index + 1]
                returning[#returning + 1] = client
            end
        end
    end
    if #returning > 0 then
        call_with('ZADD', room.returning_key, returning)
        -- Whoever wanted to resume may have died.
        redis.call('EXPIRE', room.returning_key, 600)
    end
    return { close_room(room), #returning / 2, restored }
end

redis.register_function { function_name = 'dibs_room_return', callback = bring_back, flags = { 'allow-oom' } }
