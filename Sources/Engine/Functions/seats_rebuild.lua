-- dibs_seats_rebuild: begins to rebuild a performance that is not known, or in an older epoch: takes the token and
-- clears the way. From here until dibs_seats_define it is unknown, and nobody gets an answer.
--
-- KEYS  1 state  2 seats  3 holds  4 clients  5 deadlines  6 rebuild
-- ARGV  1 token  2 epoch  3 life of the token in ms
-- Reply 1 to go on; 0 when it is known in this epoch or a newer, or somebody else rebuilds it.
--
-- The log stays: what PostgreSQL has not heard yet is its to decide.
local function rebuild(keys, args)
    local known = redis.call('HGET', keys[1], 'epoch')
    if known and tonumber(known) >= tonumber(args[2]) then return 0 end
    if not redis.call('SET', keys[6], args[1], 'NX', 'PX', args[3]) then return 0 end
    redis.call('UNLINK', keys[1], keys[2], keys[3], keys[4], keys[5])
    return 1
end

redis.register_function('dibs_seats_rebuild', rebuild)
