-- dibs_audit_line: whether the places in a piece of a room's line are their clients', and kept by somebody, at one instant.
--
-- KEYS  as all functions of rooms
-- ARGV  1 the first number to look at  2 how many
-- Reply { the number to go on with, 0 at the end; for each that is wrong: m its client has another number, or none · p
--       nobody keeps its place; client; number }. While lots are drawn nothing is looked at.
local function line(keys, args)
    local state = redis.call('HMGET', keys[1], 'head', 'next', 'origin', 'drawing')
    if not state[1] or (state[4] or '') ~= '' then return { 0, {} } end
    local head, last, origin = tonumber(state[1]), tonumber(state[2] or '0'), tonumber(state[3] or '0')
    local from = math.max(tonumber(args[1]), head + 1)
    local to = math.min(from + tonumber(args[2]) - 1, last)
    if from > to then return { 0, {} } end
    local names = redis.call('LRANGE', keys[3], from - head - 1, to - head - 1)
    local presence = redis.call('GETRANGE', keys[6], (from - origin - 1) * 4, (to - origin - 1) * 4 + 3)
    local numbers = lookup(keys[2], names, 1, #names, {})
    local wrong = {}
    for at, client in ipairs(names) do
        local number = from + at - 1
        if redis.call('GETBIT', keys[4], number - origin - 1) == 0 then
            local is_kept = #presence >= at * 4 and struct.unpack('<I4', presence, at * 4 - 3) > 0
            local fault = tonumber(numbers[client] or '0') ~= number and 'm' or not is_kept and 'p'
            if fault then
                for _, word in ipairs({ fault, client, decimal(number) }) do wrong[#wrong + 1] = word end
            end
        end
    end
    return { to < last and to + 1 or 0, wrong }
end

redis.register_function { function_name = 'dibs_audit_line', callback = line, flags = { 'no-writes' } }
