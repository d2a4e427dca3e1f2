-- dibs_retry: a failed order takes a ticket anew and goes back into the stream. The window doesn't matter: the claim
-- was in time.
--
-- KEYS  1 state  2 clients  3 keys  4 returned  5 orders  6 replayed
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the sale's channel
--       3 the order's sequence
--       4 the client
--       5 the idempotency key, or empty
-- Reply { '?' } the sale is unknown · { 'l' } the order is live already · { 'x' } the sale was cancelled ·
--       { 'd', newest order } the client is at its limit · { 's' } nothing is left ·
--       { 'a', entry, the order as the stream has it, left }
local function retry(keys, args)
    local state = redis.call('HMGET', keys[1], 'quantity', 'limit', 'cancelled', 'version', 'epoch', 'seq', 'fresh',
        'left', 'event')
    if not state[1] then return { '?' } end
    local sequence, client = args[3], args[4]
    local mine = redis.call('HGET', keys[2], client)
    if find_item(mine, sequence) then return { 'l' } end
    if state[3] == '1' then return { 'x' } end
    local limit = tonumber(state[2])
    local taken, slot, newest = places(mine, limit)
    if taken >= limit or not slot then return { 'd', newest } end
    local stock = { quantity = tonumber(state[1]), fresh = tonumber(state[7]), left = tonumber(state[8]) }
    local ticket = take_ticket(keys[4], stock)
    if not ticket then return { 's' } end

    local now = clock(args[1])
    local last, event = tonumber(state[6]) + 1, tonumber(state[9]) + 1
    local entry, text = decimal(last) .. '-0', decimal(ticket)
    local order = sequence .. ' ' .. client .. ' ' .. text .. ' ' .. slot .. ' ' .. decimal(now) .. ' ' .. state[5]
    if args[5] ~= '' then order = order .. ' ' .. args[5] end
    redis.call('XADD', keys[5], entry, 'o', order)
    redis.call('HSET', keys[6], sequence, entry)
    local item = sequence .. ':' .. text .. ':' .. slot .. ':a'
    redis.call('HSET', keys[2], client, mine and mine .. ' ' .. item or item)
    if args[5] ~= '' then redis.call('HSET', keys[3], client .. ' ' .. args[5], sequence .. ':' .. text) end
    redis.call('HSET', keys[1], 'seq', decimal(last), 'fresh', decimal(stock.fresh), 'left', decimal(stock.left),
        'event', decimal(event))
    if stock.left == 0 then redis.call('HSET', keys[1], 'out', decimal(now)) end
    announce(args[2], event, stock.left, state[4])
    return { 'a', entry, order, decimal(stock.left) }
end

redis.register_function('dibs_retry', retry)
