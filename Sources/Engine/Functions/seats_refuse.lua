-- dibs_seats_refuse: a payment ended, and nothing was paid.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  3 sequence
-- Reply 1 when a payment was under way; 0 when not
local function refuse(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local sequence = args[3]
    local record = read_record(redis.call('HGET', performance.holds_key, sequence))
    if not record or record.status ~= 'h' or record.paying == '0' then return 0 end
    record.paying = decimal(tonumber(record.paying) - 1)
    performance.records[sequence] = record_text(record)
    if record.paying == '0' then
        -- Schedulers sleep until the earliest moment that they know of: they have to hear of an earlier one.
        local look = redis.call('ZSCORE', performance.deadlines_key, sequence)
        performance.moved = tonumber(look) > tonumber(record.expires)
        performance.deadlines = { record.expires, sequence }
    end
    close_performance(performance)
    return 1
end

redis.register_function { function_name = 'dibs_seats_refuse', callback = refuse, flags = { 'allow-oom' } }
