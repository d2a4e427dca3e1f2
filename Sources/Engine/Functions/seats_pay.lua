-- dibs_seats_pay: a payment begins. From here on PostgreSQL decides about the hold, also about its end.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  3 sequence  4 client  5 how long the seats are kept for a payment, in ms, if the deadline comes first
-- Reply { word, ended, record }: b begun, with its record · o its time is over · s sold · x another client's · n not
--       there
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
        word = 'o'
    else
        word = 'b'
        record.paying = decimal(tonumber(record.paying) + 1)
        performance.records[sequence] = record_text(record)
        -- Later than the deadline at the most: when to look whether the payment still is under way.
        local look = decimal(performance.now + tonumber(args[5]))
        redis.call('ZADD', performance.deadlines_key, 'XX', 'GT', look, sequence)
    end
    close_performance(performance)
    return { word, performance.ended, word == 'b' and text or '' }
end

redis.register_function('dibs_seats_pay', pay)
