-- dibs_restore: adds to a sale under rebuild: live orders, their keys, tickets that are free, counts.
--
-- KEYS  1 rebuild  2 clients  3 keys  4 returned  5 counts  6 series
-- ARGV  1 token  2 life of the token in ms  3 n orders  4 n keys  5 n tickets  6 n counts  7 n of the series
--       … orders: client, item · keys: field, answer · tickets · counts: counter, value · series: second:counter, value
-- Reply 1; 0 when the token is no longer held, and nothing was done.
local function restore(keys, args)
    if redis.call('GET', keys[1]) ~= args[1] then return 0 end
    redis.call('PEXPIRE', keys[1], args[2])
    local at = 8
    local function take(length)
        local list = {}
        for index = at, at + length - 1 do list[#list + 1] = args[index] end
        at = at + length
        return list
    end

    local orders = take(2 * tonumber(args[3]))
    local clients = {}
    for index = 1, #orders, 2 do clients[#clients + 1] = orders[index] end
    local owned = lookup(keys[2], clients, 1, #clients, {})
    local changed = {}
    for index = 1, #orders, 2 do
        local client, item = orders[index], orders[index + 1]
        local items = owned[client]
        items = items and items .. ' ' .. item or item
        owned[client] = items
        changed[client] = items
    end
    store_items(keys[2], changed)
    call_with('HSET', keys[3], take(2 * tonumber(args[4])))
    call_with('RPUSH', keys[4], take(tonumber(args[5])))
    call_with('HSET', keys[5], take(2 * tonumber(args[6])))
    -- Where Redis still has a second, it has counted more of it than PostgreSQL knows.
    local series = take(2 * tonumber(args[7]))
    for index = 1, #series, 2 do redis.call('HSETNX', keys[6], series[index], series[index + 1]) end
    return 1
end

redis.register_function('dibs_restore', restore)
