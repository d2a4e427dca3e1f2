-- dibs_seats_settle: PostgreSQL decided about reservations of one performance. The record is the gate: what it says
-- already, or what is no longer there, is passed over. Nothing of this goes into the log: PostgreSQL knows it.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  … for each: sequence, s sold · o over, the hold has ended · r refunded
-- Reply how many changed something; '?' when the performance is not known, which has to be asked again later.
local function settle(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local sequences, clients, records = {}, {}, {}
    for index = 3, #args, 2 do sequences[#sequences + 1] = args[index] end
    local texts = lookup(performance.holds_key, sequences, 1, #sequences, {})
    for _, sequence in ipairs(sequences) do
        records[sequence] = records[sequence] or read_record(texts[sequence])
        if records[sequence] then clients[#clients + 1] = records[sequence].client end
    end
    lookup(performance.clients_key, clients, 1, #clients, performance.owned)
    local changed = 0
    for index = 3, #args, 2 do
        local sequence, decision = args[index], args[index + 1]
        local record = records[sequence]
        local is_held = record and record.status == 'h'
        if is_held and decision == 's' then
            paint(performance, record.seats, 's')
            performance.deadlines_gone[#performance.deadlines_gone + 1] = sequence
            record.status, record.paying = 's', '0'
            performance.records[sequence] = record_text(record)
            add_count(performance, 'paid')
            changed = changed + 1
        elseif is_held and decision == 'o' or record and decision == 'r' then
            remove(performance, sequence, record)
            records[sequence] = nil
            -- Of one that was refunded before Redis heard that it was paid, both are counted.
            if is_held then add_count(performance, decision == 'o' and 'expired' or 'paid') end
            if decision == 'r' then add_count(performance, 'refunded') end
            changed = changed + 1
        end
    end
    close_performance(performance)
    return changed
end

redis.register_function { function_name = 'dibs_seats_settle', callback = settle, flags = { 'allow-oom' } }
