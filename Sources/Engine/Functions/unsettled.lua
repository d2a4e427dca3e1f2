-- dibs_unsettled: an order that is still in the stream.
--
-- KEYS  1 orders  2 replayed
-- ARGV  1 the order's sequence
-- Reply { entry, order } or {}
local function unsettled(keys, args)
    local entry = redis.call('HGET', keys[2], args[1]) or args[1] .. '-0'
    local found = redis.call('XRANGE', keys[1], entry, entry)[1]
    if not found then return {} end
    return { found[1], found[2][2] }
end

redis.register_function { function_name = 'dibs_unsettled', callback = unsettled, flags = { 'no-writes' } }
