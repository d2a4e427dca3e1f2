-- dibs_seats_holds: records of reservations, of those that are there.
--
-- KEYS  1 holds  2 clients
-- ARGV  1 a client, whose reservations are meant; empty: those that follow
--       … sequences
-- Reply sequence and record in turns
local function holds(keys, args)
    local sequences = {}
    if args[1] ~= '' then
        for sequence in string.gmatch(redis.call('HGET', keys[2], args[1]) or '', '%S+') do
            sequences[#sequences + 1] = sequence
        end
    else
        for index = 2, #args do sequences[#sequences + 1] = args[index] end
    end
    local records = lookup(keys[1], sequences, 1, #sequences, {})
    local reply = {}
    for _, sequence in ipairs(sequences) do
        if records[sequence] then
            reply[#reply + 1] = sequence
            reply[#reply + 1] = records[sequence]
        end
    end
    return reply
end

redis.register_function { function_name = 'dibs_seats_holds', callback = holds, flags = { 'no-writes' } }
