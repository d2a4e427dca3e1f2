-- dibs_audit_requeue: an order that its client owns, and that neither the stream nor PostgreSQL has, goes into the stream
-- again, with the ticket that it has: a committer takes it to PostgreSQL, which decides.
--
-- KEYS  1 state  2 clients  3 orders  4 replayed  5 counts
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the order's sequence
--       3 the client
-- Reply 1 when it is in the stream now by this call; 0 when it was, when the client doesn't own it, or the sale is not known
local function requeue(keys, args)
    local state = redis.call('HMGET', keys[1], 'epoch', 'seq')
    local sequence, client = args[2], args[3]
    local items = redis.call('HGET', keys[2], client)
    local ticket, slot, was = find_item(items, sequence)
    if not state[1] or not ticket then return 0 end
    local before = redis.call('HGET', keys[4], sequence) or sequence .. '-0'
    if redis.call('XRANGE', keys[3], before, before)[1] then return 0 end
    local last = tonumber(state[2]) + 1
    local entry = decimal(last) .. '-0'
    redis.call('XADD', keys[3], entry, 'o', sequence .. ' ' .. client .. ' ' .. ticket .. ' ' .. slot .. ' '
        .. decimal(clock(args[1])) .. ' ' .. state[1])
    redis.call('HSET', keys[4], sequence, entry)
    redis.call('HSET', keys[1], 'seq', decimal(last))
    -- Not confirmed until PostgreSQL says so, and counted then: what fails has to give its ticket back.
    if was == 'c' then redis.call('HINCRBY', keys[5], 'confirmed', -1) end
    redis.call('HSET', keys[2], client, (string.gsub(items, '%f[%d](' .. sequence .. ':%d+:%d+:)%a', '%1a')))
    return 1
end

redis.register_function('dibs_audit_requeue', requeue)
