-- What several functions need. Local to the library; `FunctionLibrary.swift` puts it before them.

-- How many values are handed to one redis.call: Lua's `unpack` ends at about 8,000.
local CHUNK = 1000

-- The decimal form of a whole number up to 2^53. (`..` and `tostring` round from 10^14 on.)
local function decimal(number)
    return string.format('%.0f', number)
end

-- Milliseconds since 1970: the argument, or Redis' own clock when that is empty.
local function clock(argument)
    if argument ~= '' then return tonumber(argument) end
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Reads list[first…last] as fields of a hash; into[field] is its value, or false.
local function lookup(key, list, first, last, into)
    for from = first, last, CHUNK do
        local to = math.min(from + CHUNK - 1, last)
        local values = redis.call('HMGET', key, unpack(list, from, to))
        for index = from, to do into[list[index]] = values[index - from + 1] end
    end
    return into
end

-- Calls a command with a key and a list of any length, an even number of values at a time.
local function call_with(command, key, list)
    for from = 1, #list, CHUNK do
        redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
    end
end

-- Adds to counters, to the total and to the second that it is.
local function count(counts_key, series_key, now, tally)
    local second = decimal(math.floor(now / 1000)) .. ':'
    for counter, by in pairs(tally) do
        redis.call('HINCRBY', counts_key, counter, by)
        redis.call('HINCRBY', series_key, second .. counter, by)
    end
end

-- The first and the last place of the item with this sequence; nil when it isn't there. Without patterns: who may own a
-- thousand has long items.
local function item_range(items, sequence)
    if not items then return nil end
    local first = 1
    if string.sub(items, 1, #sequence + 1) ~= sequence .. ':' then
        first = string.find(items, ' ' .. sequence .. ':', 1, true)
        if not first then return nil end
        first = first + 1
    end
    return first, (string.find(items, ' ', first, true) or #items + 1) - 1
end

-- The order with this sequence among a client's items (`seq:ticket:slot:state`, separated by spaces).
-- Returns its ticket, slot and state, and its first and last place; nil when it isn't there.
local function find_item(items, sequence)
    local first, last = item_range(items, sequence)
    if not first then return nil end
    local ticket, slot, state = string.match(items, '^%d+:(%d+):(%d+):(%a)', first)
    return ticket, slot, state, first, last
end

-- The items without the one at these places; '' when no other is left.
local function without_item(items, first, last)
    if first == 1 then return string.sub(items, last + 2) end
    return string.sub(items, 1, first - 2) .. string.sub(items, last + 1)
end

-- The items with the state of the one that ends at this place set to confirmed.
local function confirm_item(items, last)
    return string.sub(items, 1, last - 1) .. 'c' .. string.sub(items, last + 1)
end

-- How many orders a client's items are, the lowest free slot up to the limit, and the newest order's sequence.
local function places(items, limit)
    if not items then return 0, 1, nil end
    if limit == 1 then return 1, nil, string.match(items, '^%d+') end
    local owned, newest, taken = 0, nil, {}
    for sequence, slot in string.gmatch(items, '(%d+):%d+:(%d+):%a') do
        owned = owned + 1
        newest = sequence
        taken[tonumber(slot)] = true
    end
    for slot = 1, limit do
        if not taken[slot] then return owned, slot, newest end
    end
    return owned, nil, newest
end

-- A ticket to give out: the oldest that came back, else a fresh one; nil when there is none, whatever `left` says.
-- `stock` has `quantity`, `fresh` and `left` as numbers; changes `fresh` and `left`.
local function take_ticket(returned_key, stock)
    if stock.left <= 0 then return nil end
    local ticket
    if stock.left > stock.quantity - stock.fresh then ticket = tonumber(redis.call('LPOP', returned_key)) end
    if not ticket then
        if stock.fresh >= stock.quantity then return nil end
        stock.fresh = stock.fresh + 1
        ticket = stock.fresh
    end
    stock.left = stock.left - 1
    return ticket
end

-- Tells the watchers of a sale: `event left version`.
local function announce(channel, event, left, version)
    redis.call('PUBLISH', channel, decimal(event) .. ' ' .. decimal(left) .. ' ' .. version)
end

-- Puts tickets back: changes `left` by their number, appends them to those to be sold first, tells the watchers.
local function return_tickets(state_key, returned_key, channel, tickets)
    if #tickets == 0 then return end
    call_with('RPUSH', returned_key, tickets)
    local left = redis.call('HINCRBY', state_key, 'left', #tickets)
    local event = redis.call('HINCRBY', state_key, 'event', 1)
    announce(channel, event, left, redis.call('HGET', state_key, 'version'))
end

-- Writes clients' items back: { client → items, '' for none }.
local function store_items(clients_key, changed)
    local set, drop = {}, {}
    for client, items in pairs(changed) do
        if items == '' then
            drop[#drop + 1] = client
        else
            set[#set + 1] = client
            set[#set + 1] = items
        end
    end
    call_with('HSET', clients_key, set)
    call_with('HDEL', clients_key, drop)
end

-- The runs of ascending numbers: the first and the last of each, one after the other.
local function runs(numbers)
    local found = {}
    for _, number in ipairs(numbers) do
        if #found > 0 and number == found[#found] + 1 then
            found[#found] = number
        else
            found[#found + 1] = number
            found[#found + 1] = number
        end
    end
    return found
end

-- Runs as text: `5-9,12,20-31`.
local function ranges(found)
    local words = {}
    for at = 1, #found, 2 do
        local first, last = decimal(found[at]), decimal(found[at + 1])
        words[#words + 1] = first == last and first or first .. '-' .. last
    end
    return table.concat(words, ',')
end
