-- dibs_seats_release: a hold is given back.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  3 sequence
-- Reply { word, ended, record }: r released, with its record · p a payment is under way · s sold · n not there
local function release(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local sequence = args[3]
    local text = redis.call('HGET', performance.holds_key, sequence)
    local record = read_record(text)
    sweep(performance)
    local word = 'n'
    if record and performance.records[sequence] ~= false then
        if record.status == 's' then
            word = 's'
        elseif record.paying ~= '0' then
            word = 'p'
        elseif is_over(performance, record) then
            -- More were over than one call sweeps.
            end_hold(performance, sequence, record, 'e')
        else
            end_hold(performance, sequence, record, 'r')
            word = 'r'
        end
    end
    close_performance(performance)
    return { word, performance.ended, word == 'r' and text or '' }
end

redis.register_function { function_name = 'dibs_seats_release', callback = release, flags = { 'allow-oom' } }
