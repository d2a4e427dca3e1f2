-- dibs_seats_define: makes a performance known, new or rebuilt. Its hash is written here first, and last of all.
--
-- KEYS  1 state  2 seats  3 holds  4 clients  5 deadlines  6 log  7 rebuild
-- ARGV  1 the token of the rebuild, empty for a new performance: all of its seats are free
--       2 the channel of all performances  3 the performance's id  4 the performance's channel  5 the consumer group
--       6 epoch  7 last sequence  8 last event
--       9 seats  10 price  11 hold in seconds  12 limit  13 which run of Redis this is
-- Reply 1 when it is known now by this call; 0 when it was, in this epoch or a newer, or somebody else rebuilds it.
local function define(keys, args)
    local known = redis.call('HGET', keys[1], 'epoch')
    if known and tonumber(known) >= tonumber(args[6]) then return 0 end
    if (redis.call('GET', keys[7]) or '') ~= args[1] then return 0 end
    -- Who may begin anew in a newer epoch is whoever has its token: that one has read what is held and sold.
    if known and args[1] == '' then return 0 end
    if args[1] == '' then redis.call('UNLINK', keys[2], keys[3], keys[4], keys[5]) end

    local letters = redis.call('GET', keys[2])
    if not letters then
        letters = string.rep('f', tonumber(args[9]))
        redis.call('SET', keys[2], letters)
    end
    local tally = {}
    for _, letter in ipairs({ 'f', 'h', 's' }) do
        local _, count = string.gsub(letters, letter, '')
        tally[letter] = count
    end
    redis.pcall('XGROUP', 'CREATE', keys[6], args[5], '0', 'MKSTREAM')
    redis.call('DEL', keys[1], keys[7])
    redis.call('HSET', keys[1], 'seats', args[9], 'price', args[10], 'hold', args[11], 'limit', args[12],
        'epoch', args[6], 'seq', args[7], 'event', args[8],
        'run', args[13] or '', 'free', decimal(tally.f), 'held', decimal(tally.h), 'sold', decimal(tally.s))
    redis.call('PUBLISH', args[2], args[3])
    announce_seats(args[4], tonumber(args[8]), tally, due_of(keys[5]), '')
    return 1
end

redis.register_function('dibs_seats_define', define)
