-- dibs_register: makes a sale known, new or rebuilt. Its hash is written here and nowhere else, last of all.
--
-- KEYS  1 state  2 orders  3 rebuild
-- ARGV  1 the token of the rebuild, empty for a new sale
--       2 the channel of all sales
--       3 the sale's id
--       4 the sale's channel
--       5 the consumer group
--       6 epoch  7 last sequence  8 last event
--       … fields of the state and their values
-- Reply 1 when it is known now by this call; 0 when it was, in this epoch or a newer, or somebody else rebuilds it.
local function register(keys, args)
    local known = redis.call('HGET', keys[1], 'epoch')
    if known and tonumber(known) >= tonumber(args[6]) then return 0 end
    local rebuilder = redis.call('GET', keys[3])
    if (rebuilder or '') ~= args[1] then return 0 end

    local sequence = tonumber(args[7])
    -- A stream that outlived its sale's state: new entries come after it.
    local info = redis.pcall('XINFO', 'STREAM', keys[2])
    if not info.err then
        for index = 1, #info, 2 do
            if info[index] == 'last-generated-id' then
                sequence = math.max(sequence, tonumber(string.match(info[index + 1], '^%d+')))
            end
        end
    end
    redis.pcall('XGROUP', 'CREATE', keys[2], args[5], '0', 'MKSTREAM')
    local fields = { 'epoch', args[6], 'seq', decimal(sequence), 'event', args[8] }
    local left, version
    for index = 9, #args, 2 do
        fields[#fields + 1] = args[index]
        fields[#fields + 1] = args[index + 1]
        if args[index] == 'left' then left = args[index + 1] end
        if args[index] == 'version' then version = args[index + 1] end
    end
    redis.call('DEL', keys[1], keys[3])
    redis.call('HSET', keys[1], unpack(fields))
    redis.call('PUBLISH', args[2], args[3])
    announce(args[4], tonumber(args[8]), tonumber(left), version)
    return 1
end

redis.register_function('dibs_register', register)
