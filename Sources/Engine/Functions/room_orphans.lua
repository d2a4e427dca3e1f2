-- dibs_room_orphans: a gateway is dead: the places that it held run out after the grace, counted from its last beat.
--
-- ARGV  … the gateway's number, its last beat in ms, the block to begin with
-- Reply the block to go on with; -1 at the end. 64 blocks of 512 places a call.
local function orphans(keys, args)
    local room, at = open_room(keys, args)
    if not room then return -1 end
    local block = tonumber(args[at + 2])
    -- Every place is kept anew when the draw ends; but those who came since are not.
    if room.drawing ~= '' then return block end
    local holder = HELD + tonumber(args[at])
    local moment = tonumber(args[at + 1]) + room.grace * 1000
    local grains = math.max(1, math.ceil((moment - room.born) / GRAIN))
    local kept = struct.pack('<I4', grains)
    block = math.max(block, math.floor(room.head / PER_BLOCK))
    local final = math.floor((room.next - 1) / PER_BLOCK)
    local last_block = math.min(block + 63, final)
    local from = room.origin + 1
    local is_any = false
    for index = block, last_block do
        local first = math.max(index * PER_BLOCK, room.head) + 1
        local last = math.min((index + 1) * PER_BLOCK, room.next)
        local values = redis.call('GETRANGE', room.presence_key, (first - from) * 4, (last - from) * 4 + 3)
        local parts, start = {}, 1
        for position = 1, #values - 3, 4 do
            if struct.unpack('<I4', values, position) == holder then
                parts[#parts + 1] = string.sub(values, start, position - 1)
                parts[#parts + 1] = kept
                start = position + 4
            end
        end
        if #parts > 0 then
            parts[#parts + 1] = string.sub(values, start)
            redis.call('SETRANGE', room.presence_key, (first - from) * 4, table.concat(parts))
            redis.call('ZADD', room.blocks_key, 'LT', decimal(room.born + grains * GRAIN), decimal(index))
            is_any = true
        end
    end
    if is_any then
        room.moved = true
        close_room(room)
    end
    if last_block >= final then return -1 end
    return last_block + 1
end

redis.register_function { function_name = 'dibs_room_orphans', callback = orphans, flags = { 'allow-oom' } }
