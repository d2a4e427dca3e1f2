-- dibs_room_check: whether clients have the passes that they show. A pass that is valid keeps its place until the claim
-- that it is shown for is decided, even when its time runs out meanwhile.
--
-- ARGV  … how long that may take, in ms, or 0: it is decided; then for each: client, pass
-- Reply one letter each: 1 valid, 2 valid and kept beyond its time, 0 not
local function check(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local lease, clients = tonumber(args[at]), {}
    for index = at + 1, #args, 2 do clients[#clients + 1] = args[index] end
    local passes, changed = lookup(room.passes_key, clients, 1, #clients, {}), {}
    local letters = {}
    for index, client in ipairs(clients) do
        local token, issued, expires, seen = pass_of(passes[client])
        local letter = '0'
        if token == args[at + index * 2] then
            -- 0: its client was never seen; else one more than the claims for which the place is kept. One that nobody
            -- ends stays counted: then the place is kept until its lease is over, as for one that is not decided yet.
            local old = tonumber(seen)
            local new = old
            if lease == 0 then
                new = math.max(math.min(old, 1), old - 1)
                if new < 2 then
                    redis.call('ZADD', room.active_key, 'XX', decimal(expires), client)
                    -- Its place falls free now, and schedulers have to know.
                    if expires <= room.now then room.moved = true end
                end
            elseif expires > room.now then
                letter, new = '1', math.max(old, 1)
                if expires < room.now + lease then
                    redis.call('ZADD', room.active_key, 'GT', decimal(room.now + lease), client)
                    letter, new = '2', math.min(new + 1, 9)
                end
            end
            if new ~= old then
                -- The client may show it again in this call.
                passes[client] = token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' ' .. decimal(new)
                changed[client] = passes[client]
            end
        end
        letters[index] = letter
    end
    store_items(room.passes_key, changed)
    if room.moved then close_room(room) end
    return table.concat(letters)
end

redis.register_function { function_name = 'dibs_room_check', callback = check, flags = { 'allow-oom' } }
