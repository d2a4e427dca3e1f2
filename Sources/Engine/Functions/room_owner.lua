-- dibs_room_owner: whose a pass is.
--
-- ARGV  … pass
-- Reply { client } or {}; '?' when the room is not known
local function owner(keys, args)
    local room, at = open_room(keys, args)
    if not room then return '?' end
    local function find()
        local client = redis.call('HGET', room.owners_key, args[at])
        if not client then return nil end
        local token, _, expires = pass_of(redis.call('HGET', room.passes_key, client))
        return token == args[at] and expires > room.now and client or nil
    end
    local client = find()
    -- Passes that an older version gave or ended are missing from the index, or still there.
    if not client and redis.call('HLEN', room.owners_key) ~= redis.call('HLEN', room.passes_key) then
        redis.call('UNLINK', room.owners_key)
        local passes, owners = redis.call('HGETALL', room.passes_key), {}
        for index = 1, #passes, 2 do
            owners[#owners + 1] = pass_of(passes[index + 1])
            owners[#owners + 1] = passes[index]
        end
        call_with('HSET', room.owners_key, owners)
        client = find()
    end
    return { client }
end

redis.register_function { function_name = 'dibs_room_owner', callback = owner, flags = { 'allow-oom' } }
