-- dibs_audit_passes: whether a room's admitted clients, their passes and the owners of these agree: a page of one of the
-- three, at one instant. Passes are secrets: only clients are named.
--
-- KEYS  as all functions of rooms
-- ARGV  1 active, passes or owners  2 cursor of the page, `0` for the first  3 about how many
-- Reply { the next cursor or '0', for each that is wrong: a admitted without a pass, or a pass that nobody is admitted with
--       · w admitted, and waiting too · o the pass has another owner, or the owner another pass; client }
local function token_of(text) return text and string.match(text, '^%S+') end

local FAULTS = {
    active = function(keys, client)
        if redis.call('HEXISTS', keys[9], client) == 0 then return 'a', client end
        if redis.call('HEXISTS', keys[2], client) == 1 then return 'w', client end
    end,
    passes = function(keys, client, pass)
        if not redis.call('ZSCORE', keys[8], client) then return 'a', client end
        if redis.call('HGET', keys[15], token_of(pass)) ~= client then return 'o', client end
    end,
    owners = function(keys, token, client)
        if token_of(redis.call('HGET', keys[9], client)) ~= token then return 'o', client end
    end,
}

local function passes(keys, args)
    local scan = args[1] == 'active' and 'ZSCAN' or 'HSCAN'
    local key = args[1] == 'active' and keys[8] or args[1] == 'passes' and keys[9] or keys[15]
    local page = redis.call(scan, key, args[2], 'COUNT', args[3])
    local wrong = {}
    for at = 1, #page[2], 2 do
        local fault, client = FAULTS[args[1]](keys, page[2][at], page[2][at + 1])
        if fault then
            wrong[#wrong + 1] = fault
            wrong[#wrong + 1] = client
        end
    end
    return { page[1], wrong }
end

redis.register_function { function_name = 'dibs_audit_passes', callback = passes, flags = { 'no-writes' } }
