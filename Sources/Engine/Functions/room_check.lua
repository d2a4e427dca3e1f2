-- dibs_room_check: whether clients have the passes that they show. A pass that is valid keeps its place until the claim
-- that it is shown for is decided, even when its time runs out meanwhile.
--
-- ARGV  … how long that may take, in ms, or 0: it is decided; then for each: client, pass
-- Reply one letter each: 1 valid, 2 valid and kept beyond its time, 0 not
local function check(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local letters = {}
    for index = at + 1, #args, 2 do
        local client = args[index]
        local token, issued, expires, seen = pass_of(redis.call('HGET', room.passes_key, client))
        local lease, letter = tonumber(args[at]), '0'
        local is_shown = token and token == args[index + 1]
        if is_shown and lease == 0 then
            redis.call('ZADD', room.active_key, 'XX', decimal(expires), client)
            -- Its place falls free now, and schedulers have to know.
            if expires <= room.now then room.moved = true end
        elseif is_shown and expires > room.now then
            letter = '1'
            if expires < room.now + lease then
                redis.call('ZADD', room.active_key, 'GT', decimal(room.now + lease), client)
                letter = '2'
            end
            if seen == '0' then
                redis.call('HSET', room.passes_key, client,
                    token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' 1')
            end
        end
        letters[#letters + 1] = letter
    end
    if room.moved then close_room(room) end
    return table.concat(letters)
end

redis.register_function { function_name = 'dibs_room_check', callback = check, flags = { 'allow-oom' } }
