-- dibs_drop: forgets values of a series that were written down, unless they have changed since.
--
-- KEYS  1 series
-- ARGV  field, value, field, value, …
-- Reply how many were dropped.
local function drop(keys, args)
    local fields, same = {}, {}
    for index = 1, #args, 2 do fields[#fields + 1] = args[index] end
    local now = lookup(keys[1], fields, 1, #fields, {})
    for index = 1, #args, 2 do
        if now[args[index]] == args[index + 1] then same[#same + 1] = args[index] end
    end
    call_with('HDEL', keys[1], same)
    return #same
end

redis.register_function { function_name = 'dibs_drop', callback = drop, flags = { 'allow-oom' } }
