-- dibs_audit_room: what a room's own numbers say at one instant.
--
-- KEYS  as all functions of rooms
-- ARGV  1 now in ms, or empty for Redis' clock
-- Reply {} when it is not known; else { max, version, admitted so far, drawing, head, next, waiting members, length of the
--       line, numbers after the head that left out of turn, admitted now, passes, owners of passes, 1 while gateways say who
--       waits }
local function room(keys, args)
    local state = redis.call('HMGET', keys[1], 'max', 'version', 'admitted', 'drawing', 'head', 'next', 'origin',
        'recalling', 'born')
    if not state[1] then return {} end
    local head, last, origin = tonumber(state[5] or '0'), tonumber(state[6] or '0'), tonumber(state[7] or '0')
    local gone = 0
    if last > head then gone = redis.call('BITCOUNT', keys[4], head - origin, last - origin - 1, 'BIT') end
    -- One that was made known since has nothing that could come back, until a gateway says so.
    local recalling = tonumber(state[8] or '0')
    local is_recalled = recalling >= tonumber(state[9] or '0')
        and is_recalling({ recalling = recalling, now = clock(args[1]) })
    return {
        state[1], state[2] or '0', state[3] or '0', state[4] or '', decimal(head), decimal(last),
        redis.call('HLEN', keys[2]), redis.call('LLEN', keys[3]), gone, redis.call('ZCARD', keys[8]),
        redis.call('HLEN', keys[9]), redis.call('HLEN', keys[15]), is_recalled and 1 or 0,
    }
end

redis.register_function { function_name = 'dibs_audit_room', callback = room, flags = { 'no-writes' } }
