-- dibs_audit_relog: a hold that neither the log nor PostgreSQL has goes into the log again: a committer takes it to
-- PostgreSQL, which decides.
--
-- KEYS  1 state  2 holds  3 log
-- ARGV  1 the hold's sequence
-- Reply 1 when it was done; 0 when it is not held
local function relog(keys, args)
    if redis.call('EXISTS', keys[1]) == 0 then return 0 end
    local client, held, expires, price, seats =
        string.match(redis.call('HGET', keys[2], args[1]) or '', '^h (%S+) (%d+) (%d+) (%d+) %d+ (%S+)$')
    if not client then return 0 end
    local epoch = decimal(math.floor(tonumber(args[1]) / 4294967296))
    redis.call('XADD', keys[3], '*', 'o', table.concat({ 'h', args[1], client, held, expires, price, epoch, seats }, ' '))
    return 1
end

redis.register_function('dibs_audit_relog', relog)
