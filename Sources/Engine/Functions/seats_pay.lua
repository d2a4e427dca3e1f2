-- dibs_seats_pay: a payment begins. From here on PostgreSQL decides about the hold, also about its end.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  3 sequence  4 client  5 how long the seats are kept for a payment, in ms, if the deadline comes first
-- Reply { word, ended, record, epoch }: b begun, with its record · u its time is over, but a payment that began before is
--       under way: PostgreSQL has to say, with its record · o its time is over · s sold · x another client's · n not there.
--       The epoch is that of the performance now: a payment that reaches PostgreSQL in another one began in a state that
--       is gone.
local function pay(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local sequence = args[3]
    local text = redis.call('HGET', performance.holds_key, sequence)
    local record = read_record(text)
    sweep(performance)
    local word
    if not record then
        word = 'n'
    elseif record.client ~= args[4] then
        word = 'x'
    elseif record.status == 's' then
        word = 's'
    elseif is_over(performance, record) then
        word = tonumber(record.paying) > 0 and 'u' or 'o'
    else
        word = 'b'
        record.paying = decimal(tonumber(record.paying) + 1)
        performance.records[sequence] = record_text(record)
        -- Later than the deadline at the most: when to look whether the payment still is under way.
        local look = decimal(performance.now + tonumber(args[5]))
        redis.call('ZADD', performance.deadlines_key, 'XX', 'GT', look, sequence)
    end
    close_performance(performance)
    local shown = (word == 'b' or word == 'u') and text or ''
    return { word, performance.ended, shown, redis.call('HGET', keys[1], 'epoch') }
end

redis.register_function('dibs_seats_pay', pay)
