-- What the functions of performances share. docs/seats.md explains holds and payments, and names the keys.
--
-- All but those that rebuild take the same keys, and begin with the same arguments:
-- KEYS  1 state  2 seats  3 holds  4 clients  5 deadlines  6 log  7 counts
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the performance's channel
--       … what the function's header names
-- A performance that is not known is answered with '?'. What a call changes is collected, and written at its end by
-- `close_performance`. "Ended" in a reply is what has to be told: a word for each, `e <sequence> <client>` expired,
-- `r …` released.

-- How many seats are read at once.
local BLOCK = 1024
-- How many holds that are over one call ends at most, so that it stays short.
local SWEPT = 100
-- How many times as many under payment are passed over at most.
local PAGES = 10

local function open_performance(keys, args)
    local state = redis.call('HMGET', keys[1], 'seats', 'price', 'hold', 'limit', 'seq', 'event', 'free', 'held',
        'sold')
    if not state[1] then return nil end
    return {
        state_key = keys[1], seats_key = keys[2], holds_key = keys[3], clients_key = keys[4], deadlines_key = keys[5],
        log_key = keys[6], counts_key = keys[7], channel = args[2], now = clock(args[1]),
        seats = tonumber(state[1]), price = tonumber(state[2]), hold = tonumber(state[3]), limit = tonumber(state[4]),
        sequence = tonumber(state[5]), event = tonumber(state[6]),
        tally = { f = tonumber(state[7]), h = tonumber(state[8]), s = tonumber(state[9]) },
        -- Seats as they were read, and those that change: what they were, and what they are.
        blocks = {}, before = {}, after = {},
        -- Records to be written: sequence → text, or false for one that goes.
        records = {}, deadlines = {}, deadlines_gone = {},
        -- Client → its sequences, as they are by now; false or '' for none.
        owned = {}, owned_changed = {},
        log = {}, epochs = {}, counted = {}, ended = {},
    }
end

-- The letter of a seat: f, h or s.
local function letter_of(performance, seat)
    local letter = performance.after[seat]
    if letter then return letter end
    local number = math.floor((seat - 1) / BLOCK)
    local block = performance.blocks[number]
    if not block then
        block = redis.call('GETRANGE', performance.seats_key, number * BLOCK, number * BLOCK + BLOCK - 1)
        performance.blocks[number] = block
    end
    local at = seat - number * BLOCK
    return string.sub(block, at, at)
end

local function paint_seat(performance, seat, letter)
    local old = letter_of(performance, seat)
    if old == letter then return end
    performance.before[seat] = performance.before[seat] or old
    performance.after[seat] = letter
    performance.tally[old] = performance.tally[old] - 1
    performance.tally[letter] = performance.tally[letter] + 1
end

-- Gives the seats of a record (`1,2,3`) a letter.
local function paint(performance, seats, letter)
    for seat in string.gmatch(seats, '%d+') do paint_seat(performance, tonumber(seat), letter) end
end

local function add_count(performance, counter)
    performance.counted[counter] = (performance.counted[counter] or 0) + 1
end

-- A record: `status client held expires price paying seats`; nil when there is none. Its numbers stay text, as most are
-- only written again.
local function read_record(text)
    if not text then return nil end
    local status, client, held, expires, price, paying, seats =
        string.match(text, '^(%a) (%S+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
    return {
        status = status, client = client, held = held, expires = expires, price = price, paying = paying, seats = seats,
    }
end

local function record_text(record)
    return record.status .. ' ' .. record.client .. ' ' .. record.held .. ' ' .. record.expires .. ' ' .. record.price
        .. ' ' .. record.paying .. ' ' .. record.seats
end

-- Whether the time of a hold is over.
local function is_over(performance, record)
    return tonumber(record.expires) <= performance.now
end

-- The sequences of a client as text.
local function owned_by(performance, client)
    if performance.owned[client] == nil then
        performance.owned[client] = redis.call('HGET', performance.clients_key, client)
    end
    return performance.owned[client] or ''
end

local function set_owned(performance, client, text)
    performance.owned[client] = text
    performance.owned_changed[client] = text
end

-- What PostgreSQL has to hear: `status seq client held expires price epoch seats`; status h, e or r. Sequences of an
-- epoch begin at epoch * 2^32, so the sequence tells in which one the hold was taken.
local function write_log(performance, status, sequence, record)
    local epoch = math.floor(tonumber(sequence) / 4294967296)
    performance.epochs[epoch] = performance.epochs[epoch] or decimal(epoch)
    performance.log[#performance.log + 1] = status .. ' ' .. sequence .. ' ' .. record.client .. ' ' .. record.held
        .. ' ' .. record.expires .. ' ' .. record.price .. ' ' .. performance.epochs[epoch] .. ' ' .. record.seats
end

-- A reservation leaves Redis, and its seats are free.
local function remove(performance, sequence, record)
    paint(performance, record.seats, 'f')
    performance.records[sequence] = false
    if record.status == 'h' then performance.deadlines_gone[#performance.deadlines_gone + 1] = sequence end
    local others = {}
    for other in string.gmatch(owned_by(performance, record.client), '%S+') do
        if other ~= sequence then others[#others + 1] = other end
    end
    set_owned(performance, record.client, table.concat(others, ' '))
end

-- A hold ends without PostgreSQL: e its time is over, r its holder gives it back.
local function end_hold(performance, sequence, record, status)
    remove(performance, sequence, record)
    write_log(performance, status, sequence, record)
    add_count(performance, status == 'e' and 'expired' or 'released')
    performance.ended[#performance.ended + 1] = status .. ' ' .. sequence .. ' ' .. record.client
end

-- Ends those of these holds that are over; those under payment are added to `closing`, sequence and record in turns.
local function sweep_page(performance, due, closing)
    local texts = lookup(performance.holds_key, due, 1, #due, {})
    local over, clients = {}, {}
    for _, sequence in ipairs(due) do
        local record = read_record(texts[sequence])
        if not record then
            performance.deadlines_gone[#performance.deadlines_gone + 1] = sequence
        elseif record.paying ~= '0' then
            closing[#closing + 1] = sequence
            closing[#closing + 1] = texts[sequence]
        else
            over[sequence] = record
            clients[#clients + 1] = record.client
        end
    end
    lookup(performance.clients_key, clients, 1, #clients, performance.owned)
    for _, sequence in ipairs(due) do
        if over[sequence] then end_hold(performance, sequence, over[sequence], 'e') end
    end
end

-- Ends holds whose time is over, before anything else is changed. Those under payment are left to PostgreSQL: they are
-- returned, sequence and record in turns. They stay due until a tick has put them off, so they are passed over: however
-- many PostgreSQL is slow with, the others end in time.
local function sweep(performance)
    local closing = {}
    for page = 0, PAGES - 1 do
        local due = redis.call('ZRANGEBYSCORE', performance.deadlines_key, '-inf', decimal(performance.now),
            'LIMIT', page * SWEPT, SWEPT)
        local before = #closing
        if #due > 0 then sweep_page(performance, due, closing) end
        -- A page of which some have ended is enough for one call.
        if #due < SWEPT or #closing - before < 2 * #due then break end
    end
    return closing
end

-- The earliest moment, in ms, at which a hold has to be looked at; 0 when there is none.
local function due_of(deadlines_key)
    return tonumber(redis.call('ZRANGE', deadlines_key, 0, 0, 'WITHSCORES')[2] or '0')
end

-- `event free held sold due|changes`
local function announce_seats(channel, event, tally, due, changes)
    redis.call('PUBLISH', channel, decimal(event) .. ' ' .. decimal(tally.f) .. ' ' .. decimal(tally.h) .. ' '
        .. decimal(tally.s) .. ' ' .. decimal(due) .. '|' .. changes)
end

-- Writes the seats that changed; what changed, as words `f1-3,7`, separated by spaces.
local function write_seats(performance)
    local changed = { f = {}, h = {}, s = {} }
    for seat, letter in pairs(performance.after) do
        if performance.before[seat] ~= letter then changed[letter][#changed[letter] + 1] = seat end
    end
    local words = {}
    for _, letter in ipairs({ 'f', 'h', 's' }) do
        if #changed[letter] > 0 then
            table.sort(changed[letter])
            local found = runs(changed[letter])
            for at = 1, #found, 2 do
                redis.call('SETRANGE', performance.seats_key, found[at] - 1,
                    string.rep(letter, found[at + 1] - found[at] + 1))
            end
            words[#words + 1] = letter .. ranges(found)
        end
    end
    return table.concat(words, ' ')
end

-- Writes what has changed, each key once, and tells the watchers.
local function close_performance(performance)
    for counter, by in pairs(performance.counted) do redis.call('HINCRBY', performance.counts_key, counter, by) end
    local set, gone = {}, {}
    for sequence, text in pairs(performance.records) do
        if text then
            set[#set + 1] = sequence
            set[#set + 1] = text
        else
            gone[#gone + 1] = sequence
        end
    end
    call_with('HSET', performance.holds_key, set)
    call_with('HDEL', performance.holds_key, gone)
    call_with('ZREM', performance.deadlines_key, performance.deadlines_gone)
    call_with('ZADD', performance.deadlines_key, performance.deadlines)
    store_items(performance.clients_key, performance.owned_changed)
    for _, entry in ipairs(performance.log) do redis.call('XADD', performance.log_key, '*', 'o', entry) end
    if not performance.moved and not next(performance.after) then return end
    local changes = write_seats(performance)
    local tally = performance.tally
    performance.event = performance.event + 1
    redis.call('HSET', performance.state_key, 'seq', decimal(performance.sequence), 'event', decimal(performance.event),
        'free', decimal(tally.f), 'held', decimal(tally.h), 'sold', decimal(tally.s))
    announce_seats(performance.channel, performance.event, tally, due_of(performance.deadlines_key), changes)
end
