-- dibs_rebuild: begins to rebuild a sale that is not known, or in an older epoch: takes the token and clears the way.
-- From here until dibs_register the sale is unknown, and claims get no answer.
--
-- KEYS  1 state  2 clients  3 keys  4 returned  5 counts  6 rebuild  7 series
-- ARGV  1 token  2 epoch  3 life of the token in ms  4 optional: which run of Redis this is; then what was made known in
--       another run is begun as well, in whatever epoch, and what was made known in this one is not
-- Reply 1 to go on; 0 when the sale is known in this epoch or a newer, or somebody else rebuilds it.
--
-- The stream stays: orders of an older epoch that nobody settled are PostgreSQL's to decide.
local function rebuild(keys, args)
    local known = redis.call('HMGET', keys[1], 'epoch', 'run')
    if args[4] then
        if known[2] == args[4] then return 0 end
    elseif known[1] and tonumber(known[1]) >= tonumber(args[2]) then
        return 0
    end
    if not redis.call('SET', keys[6], args[1], 'NX', 'PX', args[3]) then return 0 end
    redis.call('UNLINK', keys[1], keys[2], keys[3], keys[4], keys[5], keys[7])
    return 1
end

redis.register_function('dibs_rebuild', rebuild)
