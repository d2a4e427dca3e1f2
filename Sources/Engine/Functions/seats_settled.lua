-- dibs_seats_settled: how far a performance's holds have reached PostgreSQL.
--
-- KEYS  1 state  2 log
-- Reply {} when the performance is not known, or too much else is in front of its log; else { epoch, last sequence, sequence
--       of the oldest hold in the log or '', ms of the log's oldest entry or '' }
local LOOK = 200

local function settled(keys)
    local state = redis.call('HMGET', keys[1], 'epoch', 'seq')
    if not state[1] then return {} end
    local entries = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', LOOK)
    local oldest = entries[1] and string.match(entries[1][1], '^%d+') or ''
    for _, entry in ipairs(entries) do
        local sequence = string.match(entry[2][2], '^h (%d+)')
        if sequence then return { state[1], state[2], sequence, oldest } end
    end
    if #entries == LOOK then return {} end
    return { state[1], state[2], '', oldest }
end

redis.register_function { function_name = 'dibs_seats_settled', callback = settled, flags = { 'no-writes' } }
