-- dibs_claim: decides any number of claims of one sale, in their order.
--
-- KEYS  1 state  2 clients  3 keys  4 returned  5 orders  6 counts  7 series
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the sale's channel
--       3 rolls: two digits a claim; `np` for one that needs a pass and has no valid one
--       4 how many key fields follow: 0 when no claim has a key, else one for each claim
--       … clients, one a claim
--       … key fields: client, space, idempotency key; empty for a claim without
-- Reply '?' when the sale is unknown; else one word a claim, separated by spaces:
--       a<sequence>:<ticket>:<left>:<more>:<slot>  accepted; how many more the client may own
--       r<sequence>:<ticket>         repeated: this key was accepted before
--       d<sequence>                  duplicate: the client is at its limit; its newest order
--       x cancelled · n not open · c closed · p not admitted · j rejected · s sold out
--
-- Whatever the number of claims: one read of the state, one of the clients, one of the keys, one write of each, one
-- message; only the entries of the stream, and tickets that came back, are one command each. A repeated claim is not
-- counted.
local REFUSALS = {
    x = 'refused:cancelled', n = 'refused:not_open', c = 'refused:closed', d = 'refused:duplicate',
    j = 'refused:rejected', s = 'refused:sold_out', p = 'refused:not_admitted',
}

local function claim(keys, args)
    local state = redis.call('HMGET', keys[1], 'quantity', 'limit', 'reject', 'opens', 'closes', 'cancelled', 'version',
        'epoch', 'seq', 'fresh', 'left', 'first', 'event')
    if not state[1] then return '?' end
    local now = clock(args[1])
    local stock = { quantity = tonumber(state[1]), fresh = tonumber(state[10]), left = tonumber(state[11]) }
    local limit, reject, epoch = tonumber(state[2]), tonumber(state[3]), state[8]
    local sequence = tonumber(state[9])
    local rolls, keyed = args[3], tonumber(args[4])
    local total = #rolls / 2
    local moment = decimal(now) .. ' ' .. epoch

    local gate
    if state[6] == '1' then gate = 'x'
    elseif now < tonumber(state[4]) then gate = 'n'
    elseif now >= tonumber(state[5]) then gate = 'c' end

    local used, owned = {}, {}
    if keyed > 0 then lookup(keys[3], args, 5 + total, 4 + total + total, used) end
    if not gate then lookup(keys[2], args, 5, 4 + total, owned) end

    local replies, tally, changed, new_keys = {}, {}, {}, {}
    local accepted, decided = 0, 0
    for index = 1, total do
        local client = args[4 + index]
        local field = keyed > 0 and args[4 + total + index] or ''
        local before = field ~= '' and used[field]
        local reply
        if before then
            replies[index] = 'r' .. before
        else
            local mine, slot, newest
            local roll = string.sub(rolls, index * 2 - 1, index * 2)
            local places_taken
            if gate then
                reply = gate
            elseif roll == 'np' then
                reply = 'p'
            else
                mine = owned[client]
                places_taken, slot, newest = places(mine, limit)
                if places_taken >= limit or not slot then
                    reply = 'd'
                elseif reject > 0 and tonumber(roll) < reject then
                    reply = 'j'
                end
            end
            local ticket
            if not reply then
                ticket = take_ticket(keys[4], stock)
                if not ticket then reply = 's' end
            end
            decided = decided + 1
            if reply then
                local counter = REFUSALS[reply]
                tally[counter] = (tally[counter] or 0) + 1
                if reply == 'd' then reply = 'd' .. newest end
            else
                sequence = sequence + 1
                accepted = accepted + 1
                local number, text = decimal(sequence), decimal(ticket)
                local order = number .. ' ' .. client .. ' ' .. text .. ' ' .. slot .. ' ' .. moment
                if field ~= '' then
                    order = order .. string.sub(field, #client + 1)
                    local answer = number .. ':' .. text
                    used[field] = answer
                    new_keys[#new_keys + 1] = field
                    new_keys[#new_keys + 1] = answer
                end
                redis.call('XADD', keys[5], number .. '-0', 'o', order)
                local item = number .. ':' .. text .. ':' .. slot .. ':a'
                if mine then item = mine .. ' ' .. item end
                owned[client] = item
                changed[client] = item
                reply = 'a' .. number .. ':' .. text .. ':' .. decimal(stock.left) .. ':'
                    .. decimal(limit - places_taken - 1) .. ':' .. decimal(slot)
            end
            replies[index] = reply
        end
    end

    if decided > 0 then
        tally.requests = decided
        if accepted > 0 then tally.accepted = accepted end
        count(keys[6], keys[7], now, tally)
    end
    if accepted > 0 then
        store_items(keys[2], changed)
        call_with('HSET', keys[3], new_keys)
        local event = tonumber(state[13]) + 1
        local fields = { 'seq', decimal(sequence), 'fresh', decimal(stock.fresh), 'left', decimal(stock.left), 'event',
            decimal(event) }
        if not state[12] then
            fields[9] = 'first'
            fields[10] = decimal(now)
        end
        if stock.left == 0 then
            fields[#fields + 1] = 'out'
            fields[#fields + 1] = decimal(now)
        end
        redis.call('HSET', keys[1], unpack(fields))
        announce(args[2], event, stock.left, state[7])
    elseif decided > 0 and not gate and not state[12] then
        redis.call('HSET', keys[1], 'first', decimal(now))
    end
    return table.concat(replies, ' ')
end

redis.register_function('dibs_claim', claim)
-- An older version's `dibs_claim` takes `np` for a claim like any other. Where that version loaded its library last, this
-- name is missing, and ours is loaded again.
redis.register_function('dibs_claim_2', claim)
