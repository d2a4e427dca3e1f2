-- dibs_room_status: where a client stands. Asking is a sign of life.
--
-- ARGV  … client, whether it asks itself (1) or somebody else wants to know (0)
-- Reply { summary, w<number>:<rank> | p<token>:<expires> | f finished | n never seen }
local function status(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local client, asks = args[at], args[at + 1] == '1'
    local word = 'n'
    local number = redis.call('HGET', room.members_key, client)
    if number then
        if asks and room.drawing == '' then keep(room, tonumber(number), 0) end
        word = 'w' .. number .. ':' .. decimal(rank(room, tonumber(number)))
    else
        local pass = redis.call('HGET', room.passes_key, client)
        local token, issued, expires, seen = pass_of(pass)
        if token and expires > room.now then
            if asks and seen == '0' then
                redis.call('HSET', room.passes_key, client,
                    token .. ' ' .. decimal(issued) .. ' ' .. decimal(expires) .. ' 1')
            end
            word = 'p' .. token .. ':' .. decimal(expires)
        elseif token or redis.call('ZSCORE', room.finished_key, client)
            or redis.call('HEXISTS', room.cleared_key, client) == 1 then
            word = 'f'
        end
    end
    return { summary(room), word }
end

redis.register_function { function_name = 'dibs_room_status', callback = status, flags = { 'allow-oom' } }
