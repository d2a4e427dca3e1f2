#!lua name=bench
-- The least that a claim can be in Redis: once for each client, while stock lasts, and an order in a stream. No window, no
-- idempotency, no limit above one, no tickets that come back, no counts, no watchers; the stream numbers its entries itself.
--
-- KEYS 1 clients, 2 stock, 3 orders; ARGV 1 client
redis.register_function('bench_claim', function(keys, args)
    if redis.call('SADD', keys[1], args[1]) == 0 then return 'd' end
    local left = redis.call('DECR', keys[2])
    if left < 0 then return 's' end
    redis.call('XADD', keys[3], '*', 'o', args[1])
    return left
end)
