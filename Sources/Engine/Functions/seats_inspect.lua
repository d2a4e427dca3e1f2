-- dibs_seats_inspect: a performance at one instant, as its hash says it, as its seats say it, and as its records do.
-- It looks at every seat and every record: for the auditor, not for every request.
--
-- KEYS  1 state  2 seats  3 holds  4 log  5 counts
-- Reply {} when it is not known; else { fields of the state, { free, held, sold } seats counted, { records held,
--       records sold, seats in those held, seats in those sold }, entries in the log, counts }
local function inspect(keys)
    local state = redis.call('HGETALL', keys[1])
    if #state == 0 then return {} end
    local letters = redis.call('GET', keys[2]) or ''
    local counted = {}
    for index, letter in ipairs({ 'f', 'h', 's' }) do
        local _, count = string.gsub(letters, letter, '')
        counted[index] = count
    end
    local records = { 0, 0, 0, 0 }
    for _, text in ipairs(redis.call('HVALS', keys[3])) do
        local record = read_record(text)
        local at = record.status == 'h' and 1 or 2
        local _, commas = string.gsub(record.seats, ',', '')
        records[at] = records[at] + 1
        records[at + 2] = records[at + 2] + commas + 1
    end
    return { state, counted, records, redis.call('XLEN', keys[4]), redis.call('HGETALL', keys[5]) }
end

redis.register_function { function_name = 'dibs_seats_inspect', callback = inspect, flags = { 'no-writes' } }
