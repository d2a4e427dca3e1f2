-- dibs_room_draw: draws lots, step by step. Whoever draws holds a token, for 10 s from its last step; then another may
-- begin anew, with the same result: the order depends on nothing but the seed and who waits. Until the end the new line is
-- written beside the old one, which nobody can join or leave meanwhile: whoever gives up leaves nothing behind.
--
-- ARGV  … token, step, and
--       b               begin                               Reply { 1, how long the line is, blanks included } or { 0 }
--       r offset count  read: clients, without blanks       Reply { 1, clients }
--       w position clients  write, from that position on (from 1)
--                                                           Reply { 1 }
--       a               abandon                             Reply { 1 }
--       k               keep the token                      Reply { 1 }
--       e count         end: swap the lines                 Reply { 1, summary } or { 0 }
-- Any step without the token: { 0 }.
local PATIENCE = 10000

local function draw(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local token, step = args[at], args[at + 1]
    local drawing_at = tonumber(redis.call('HGET', room.state_key, 'drawing_at') or '0')
    if step == 'b' then
        if room.drawing ~= '' then
            -- Brought to its end even if the ordering is another by now: until then nobody can join.
            if room.now - drawing_at < PATIENCE then return { 0 } end
        elseif room.ordering ~= 'random' or room.drawn == 1 or room.opens == 0 or room.opens > room.now then
            return { 0 }
        end
        redis.call('UNLINK', room.drawn_key, room.renumbered_key)
        change(room, 'drawing', token)
    elseif room.drawing ~= token then
        return { 0 }
    end
    redis.call('HSET', room.state_key, 'drawing_at', decimal(room.now))
    local length = room.next - room.head
    if step == 'b' then
        close_room(room)
        return { 1, length }
    elseif step == 'r' then
        local offset, clients = tonumber(args[at + 2]), {}
        local names = redis.call('LRANGE', room.line_key, offset, offset + tonumber(args[at + 3]) - 1)
        for index, client in ipairs(names) do
            local bit = room.head + offset + index - room.origin - 1
            if redis.call('GETBIT', room.gone_key, bit) == 0 then clients[#clients + 1] = client end
        end
        return { 1, clients }
    elseif step == 'k' then
        return { 1 }
    elseif step == 'a' then
        redis.call('UNLINK', room.drawn_key, room.renumbered_key)
        change(room, 'drawing', '')
        close_room(room)
        return { 1 }
    elseif step == 'w' then
        local first = tonumber(args[at + 2])
        local clients, members = {}, {}
        for index = at + 3, #args do
            clients[#clients + 1] = args[index]
            members[#members + 1] = args[index]
            members[#members + 1] = decimal(room.next + first + index - at - 3)
        end
        call_with('RPUSH', room.drawn_key, clients)
        call_with('HSET', room.renumbered_key, members)
        return { 1 }
    end
    local count = tonumber(args[at + 2])
    local is_complete = redis.call('LLEN', room.drawn_key) == count
        and redis.call('HLEN', room.renumbered_key) == count
    if not is_complete or room.waiting ~= count then return { 0 } end
    local head = room.next
    redis.call('UNLINK', room.line_key, room.gone_key, room.sums_key, room.presence_key, room.blocks_key)
    if count > 0 then
        redis.call('RENAME', room.drawn_key, room.line_key)
        redis.call('RENAME', room.renumbered_key, room.members_key)
        -- Gateways hold their clients again, by the new numbers, as soon as they hear of it; for the others, grace runs.
        local grains = math.ceil((room.now + room.grace * 1000 - room.born) / GRAIN)
        redis.call('SETRANGE', room.presence_key, 0, string.rep(struct.pack('<I4', grains), count))
        local blocks = {}
        for block = math.floor(head / PER_BLOCK), math.floor((head + count - 1) / PER_BLOCK) do
            blocks[#blocks + 1] = decimal(room.born + grains * GRAIN)
            blocks[#blocks + 1] = decimal(block)
        end
        call_with('ZADD', room.blocks_key, blocks)
    end
    change(room, 'origin', head)
    change(room, 'head', head)
    change(room, 'next', head + count)
    change(room, 'drawn', 1)
    change(room, 'drawing', '')
    room.kind = 'd'
    room.moved = true
    return { 1, close_room(room) }
end

redis.register_function('dibs_room_draw', draw)
