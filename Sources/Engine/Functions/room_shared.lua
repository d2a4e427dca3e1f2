-- What the functions of waiting rooms share. docs/waiting-room.md explains the line; docs/redis-keys.md names the keys.
--
-- All of them take the same keys, and begin with the same arguments:
-- KEYS  1 state  2 members  3 line  4 gone  5 sums  6 presence  7 blocks  8 active  9 passes  10 finished  11 outbox
--       12 drawn  13 cleared  14 renumbered  15 owners  16 returning (an older version's calls have neither)
-- ARGV  1 now in ms, or empty for Redis' clock
--       2 the room's channel
--       3 how many passes follow
--       … fresh passes, to be given to whoever is admitted
--       … what the function's header names
-- A room that is not known is answered with '?'. One in which lots are drawn is answered with 'D': come again.

-- Numbers that one entry of `sums` counts. The bits of so many are 8 KB, which BITCOUNT reads in some microseconds.
local PER_SUM = 65536
-- Numbers in a block of presence.
local PER_BLOCK = 512
-- The grain of presence, in ms.
local GRAIN = 250
-- A presence from here on names the gateway that holds the connection; below, it is the moment at which the place runs
-- out, in grains since the room was made.
local HELD = 2147483648
-- How fast the pace is forgotten; `Pace.memoryMilliseconds` says the same.
local MEMORY = 60000
-- How long after the first admission that counts the pace is told, in ms.
local SETTLING = 1000
-- How long an outcome may stay untold before any scheduler tells it, in ms.
local UNTOLD = 1000
-- Clients that are remembered as finished, and for how long, in ms.
local FINISHED, FINISHED_MS = 100000, 3600000

-- How long a line stands still at most, after Redis may have lost something, until gateways have said who waits, in ms.
local RECALL = 5000

-- Fields of the state: the first two are words, the others numbers.
local ROOM_WORDS = 2
local ROOM_FIELDS = {
    'ordering', 'drawing', 'max', 'pass', 'minute', 'grace', 'version', 'opens', 'live', 'drawn', 'born', 'origin',
    'head', 'next', 'event', 'tat', 'peak', 'pace', 'losses', 'pace_at', 'pace_from', 'paced', 'joined', 'admitted',
    'left', 'vanished', 'expired', 'noshow', 'spent', 'closed', 'ticked', 'sales_version', 'paced_since', 'recalling',
}

-- A number in the form that it is stored in.
local function written(number)
    if type(number) ~= 'number' then return number end
    if number == math.floor(number) then return decimal(number) end
    return string.format('%.6f', number)
end

-- The room, and the index of the first argument of the function's own; nil when it is not known.
local function open_room(keys, args)
    local values = redis.call('HMGET', keys[1], unpack(ROOM_FIELDS))
    if not values[1] then return nil end
    local room = {
        state_key = keys[1], members_key = keys[2], line_key = keys[3], gone_key = keys[4], sums_key = keys[5],
        presence_key = keys[6], blocks_key = keys[7], active_key = keys[8], passes_key = keys[9],
        finished_key = keys[10], outbox_key = keys[11], drawn_key = keys[12], cleared_key = keys[13],
        renumbered_key = keys[14], owners_key = keys[15], returning_key = keys[16],
        channel = args[2], args = args, passes_left = tonumber(args[3]), pass_at = 4,
        changed = {}, numbers_left = {}, untold = {}, kind = 'c',
    }
    for index, name in ipairs(ROOM_FIELDS) do
        if index <= ROOM_WORDS then
            room[name] = values[index] or ''
        else
            room[name] = tonumber(values[index] or '0')
        end
    end
    room.now = clock(args[1])
    room.waiting = redis.call('HLEN', room.members_key)
    room.active = redis.call('ZCARD', room.active_key)
    room.had_line = room.waiting > 0
    room.old_next = room.next
    return room, 4 + room.passes_left
end

local function change(room, name, value)
    room[name] = value
    room.changed[name] = true
end

local function add(room, name, by)
    change(room, name, room[name] + by)
end

-- Whether lots have to be drawn before anybody is admitted.
local function awaits_draw(room)
    return room.ordering == 'random' and room.drawn == 0 and room.opens > 0
end

-- Whether gateways are saying who waits.
local function is_recalling(room)
    return room.recalling > 0 and room.now - room.recalling < RECALL
end

-- Whether nobody is admitted now, however many places are free.
local function is_held(room)
    if room.drawing ~= '' or is_recalling(room) or room.ordering == 'reject' then return true end
    return room.ordering ~= 'passthrough' and (room.opens > room.now or awaits_draw(room))
end

-- The interval of the pace in ms, 0 where nothing but the cap limits admissions, and from when on it allows the next.
local function pacing(room)
    if room.minute == 0 or room.ordering == 'passthrough' then return 0, 0 end
    local interval = 60000 / room.minute
    -- Never further ahead than one interval: the limit may have been lower before, or the clock gone back.
    return interval, math.min(room.tat, room.now + interval)
end

-- The next moment at which something happens by the clock alone; 0 when there is none.
local function due(room)
    local soonest = 0
    local function take(moment)
        if moment and (soonest == 0 or moment < soonest) then soonest = moment end
    end
    local function first(key, plus)
        local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if found[2] then take(tonumber(found[2]) + plus) end
    end
    first(room.active_key, 0)
    first(room.outbox_key, UNTOLD)
    if room.drawing == '' then first(room.blocks_key, 0) end
    if room.opens > room.now and room.ordering ~= 'passthrough' then take(room.opens) end
    if room.waiting > 0 and room.active < room.max and not is_held(room) then
        local _, tat = pacing(room)
        take(math.max(room.now, math.ceil(tat)))
    end
    return soonest
end

-- `event head next waiting active due now pace losses pace_at pace_from paced max minute grace flag pass`; flag: d lots are to
-- be drawn now, p the order is provisional, h nobody is admitted for now, - none. `due` is 0 where nobody plans by it.
local function summary(room, is_for_schedulers)
    local flag = '-'
    if room.drawing ~= '' then
        flag = 'd'
    elseif awaits_draw(room) then
        flag = room.opens <= room.now and 'd' or 'p'
    elseif is_held(room) then
        flag = 'h'
    end
    -- Places that fall free together are given on in several calls: the first of them alone would look like a crawl.
    local paced = room.paced > 0 and room.now - room.paced_since >= SETTLING and room.paced or 0
    local words = {
        room.event, room.head, room.next, room.waiting, room.active,
        is_for_schedulers and due(room) or 0, room.now, room.pace, room.losses,
        room.pace_at, room.pace_from, paced, room.max, room.minute, room.grace, flag, room.pass,
    }
    for index, word in ipairs(words) do words[index] = written(word) end
    return table.concat(words, ' ')
end

-- Which entry of `sums` counts a number. The origin only moves by whole entries, so what is left of it stays the same.
local function sum_of(room, number)
    return math.floor((number - 1 - room.origin % PER_SUM) / PER_SUM)
end

-- Drops what lies before the head: whole entries of `sums`, so that the rest keeps its place.
local function trim(room)
    if room.waiting == 0 then
        redis.call('UNLINK', room.line_key, room.gone_key, room.sums_key, room.presence_key, room.blocks_key)
        change(room, 'origin', room.head)
        return
    end
    local sums = math.floor((room.head - room.origin) / PER_SUM)
    if sums == 0 then return end
    local numbers, first = sums * PER_SUM, sum_of(room, room.origin + 1)
    local gone = redis.call('GETRANGE', room.gone_key, numbers / 8, -1)
    local presence = redis.call('GETRANGE', room.presence_key, numbers * 4, -1)
    redis.call('SET', room.gone_key, gone)
    redis.call('SET', room.presence_key, presence)
    for sum = first, first + sums - 1 do redis.call('HDEL', room.sums_key, decimal(sum)) end
    change(room, 'origin', room.origin + numbers)
end

-- Writes the room back, and announces what changed. Returns its summary.
local function close_room(room)
    if room.moved then
        if room.waiting == 0 and room.head < room.next then change(room, 'head', room.next) end
        if room.changed.head or room.waiting == 0 then trim(room) end
        add(room, 'event', 1)
    end
    local fields = {}
    for name in pairs(room.changed) do
        fields[#fields + 1] = name
        fields[#fields + 1] = written(room[name])
    end
    call_with('HSET', room.state_key, fields)
    local text = summary(room, room.moved or room.is_tick)
    if room.moved then
        table.sort(room.numbers_left)
        redis.call('PUBLISH', room.channel, room.kind .. ' ' .. text .. '|' .. ranges(runs(room.numbers_left)))
    end
    return text
end

-- Measures: so many were admitted from the line, so many gave up.
local function measure(room, admissions, losses)
    local decay = math.exp(-math.max(0, room.now - room.pace_at) / MEMORY)
    change(room, 'pace', room.pace * decay + admissions)
    change(room, 'losses', room.losses * decay + losses)
    change(room, 'pace_at', room.now)
    if admissions > 0 then
        if room.paced == 0 then change(room, 'paced_since', room.now) end
        add(room, 'paced', admissions)
    end
end

local function measure_anew(room)
    change(room, 'pace', 0)
    change(room, 'losses', 0)
    change(room, 'paced', 0)
    change(room, 'pace_at', room.now)
    change(room, 'pace_from', room.now)
end

-- How many in (head, number] left out of turn.
local function departures(room, number)
    local first, last = room.head - room.origin, number - room.origin - 1
    if last < first then return 0 end
    local first_sum, last_sum = math.floor(first / PER_SUM), math.floor(last / PER_SUM)
    if first_sum == last_sum then return redis.call('BITCOUNT', room.gone_key, first, last, 'BIT') end
    local total = redis.call('BITCOUNT', room.gone_key, first, (first_sum + 1) * PER_SUM - 1, 'BIT')
        + redis.call('BITCOUNT', room.gone_key, last_sum * PER_SUM, last, 'BIT')
    local fields, base = {}, sum_of(room, room.origin + 1)
    for sum = first_sum + 1, last_sum - 1 do fields[#fields + 1] = decimal(base + sum) end
    for _, value in pairs(lookup(room.sums_key, fields, 1, #fields, {})) do
        if value then total = total + tonumber(value) end
    end
    return total
end

-- The place of a waiting client's number, from 1.
local function rank(room, number)
    -- Nobody left behind those who joined in this call.
    if number > room.old_next then return room.waiting - (room.next - number) end
    return number - room.head - departures(room, number)
end

local function presence_of(room, number)
    local at = (number - room.origin - 1) * 4
    local value = redis.call('GETRANGE', room.presence_key, at, at + 3)
    if #value < 4 then return 0 end
    return (struct.unpack('<I4', value))
end

local function set_presence(room, number, value)
    redis.call('SETRANGE', room.presence_key, (number - room.origin - 1) * 4, struct.pack('<I4', value))
end

-- Keeps a place until a moment.
local function keep_until(room, number, moment)
    local grains = math.max(1, math.ceil((moment - room.born) / GRAIN))
    set_presence(room, number, grains)
    local block = decimal(math.floor((number - 1) / PER_BLOCK))
    redis.call('ZADD', room.blocks_key, 'LT', decimal(room.born + grains * GRAIN), block)
end

-- A sign of life of a waiting client: its connection is held by a gateway, or, with 0, it asked.
local function keep(room, number, holder)
    if holder > 0 then
        set_presence(room, number, HELD + holder)
    elseif presence_of(room, number) < HELD then
        keep_until(room, number, room.now + room.grace * 1000)
    end
end

-- New clients join at the end of the line, in their order, each kept by its gateway, or with 0 for the grace.
local function line_up(room, clients, holders)
    if #clients == 0 then return end
    local members = {}
    for index, client in ipairs(clients) do
        local number = room.next + index
        members[#members + 1] = client
        members[#members + 1] = decimal(number)
        keep(room, number, holders[index])
    end
    call_with('HSET', room.members_key, members)
    call_with('RPUSH', room.line_key, clients)
    if redis.call('EXISTS', room.finished_key) == 1 then call_with('ZREM', room.finished_key, clients) end
    if redis.call('EXISTS', room.cleared_key) == 1 then call_with('HDEL', room.cleared_key, clients) end
    change(room, 'next', room.next + #clients)
    add(room, 'joined', #clients)
    room.waiting = room.waiting + #clients
    room.moved = true
end

local function finish(room, clients)
    local list = {}
    for _, client in ipairs(clients) do
        list[#list + 1] = decimal(room.now)
        list[#list + 1] = client
    end
    call_with('ZADD', room.finished_key, list)
    redis.call('ZREMRANGEBYSCORE', room.finished_key, '-inf', decimal(room.now - FINISHED_MS))
    redis.call('ZREMRANGEBYRANK', room.finished_key, 0, -1 - FINISHED)
end

-- A waiting client leaves out of turn.
local function depart(room, client, number, counter)
    redis.call('HDEL', room.members_key, client)
    redis.call('SETBIT', room.gone_key, number - room.origin - 1, 1)
    redis.call('HINCRBY', room.sums_key, decimal(sum_of(room, number)), 1)
    set_presence(room, number, 0)
    room.numbers_left[#room.numbers_left + 1] = number
    room.waiting = room.waiting - 1
    room.moved = true
    add(room, counter, 1)
end

-- The pass of a client: token, issued, expires, seen; nil when it has none. Seen is '0' when the client never was, else
-- one more than the claims that are being decided by it in its last seconds.
local function pass_of(text)
    if not text then return nil end
    local token, issued, expires, seen = string.match(text, '^(%S+) (%d+) (%d+) (%d)$')
    return token, tonumber(issued), tonumber(expires), seen
end

-- An admitted client's place falls free.
local function end_pass(room, client, token, counter)
    redis.call('HDEL', room.passes_key, client)
    if room.owners_key then redis.call('HDEL', room.owners_key, token) end
    redis.call('ZREM', room.active_key, client)
    finish(room, { client })
    room.active = room.active - 1
    room.moved = true
    add(room, counter, 1)
end

-- Ends the passes whose time is over.
local function expire(room)
    local clients = redis.call('ZRANGEBYSCORE', room.active_key, '-inf', decimal(room.now), 'LIMIT', 0, CHUNK)
    if #clients == 0 then return end
    local passes = lookup(room.passes_key, clients, 1, #clients, {})
    local outbox, tokens, missed = {}, {}, 0
    for _, client in ipairs(clients) do
        local token, _, expires, seen = pass_of(passes[client])
        if token then
            -- Whoever admitted may have died before telling: then the beginning is told with the end.
            local pass = client .. ' ' .. token .. ' ' .. decimal(expires)
            local is_untold = redis.call('ZSCORE', room.outbox_key, 'g ' .. pass)
            local outcome = (is_untold and 'b ' or 't ') .. pass
            room.untold[#room.untold + 1] = outcome
            outbox[#outbox + 1] = decimal(room.now)
            outbox[#outbox + 1] = outcome
            tokens[#tokens + 1] = token
            if seen == '0' then missed = missed + 1 end
        end
    end
    call_with('ZREM', room.active_key, clients)
    call_with('HDEL', room.passes_key, clients)
    if room.owners_key then call_with('HDEL', room.owners_key, tokens) end
    call_with('ZADD', room.outbox_key, outbox)
    finish(room, clients)
    room.active = room.active - #clients
    room.moved = true
    add(room, 'expired', #clients)
    if missed > 0 then add(room, 'noshow', missed) end
end

-- Lets waiting clients go whose places have run out: eight blocks a call, so that it stays short.
local function sweep(room)
    if room.drawing ~= '' then return end
    local grains = math.floor((room.now - room.born) / GRAIN)
    local blocks = redis.call('ZRANGEBYSCORE', room.blocks_key, '-inf', decimal(room.now), 'LIMIT', 0, 8)
    local finished = {}
    for _, block in ipairs(blocks) do
        local first = math.max(tonumber(block) * PER_BLOCK, room.head) + 1
        local last = math.min((tonumber(block) + 1) * PER_BLOCK, room.next)
        local over, earliest = {}, nil
        if first <= last then
            local from = room.origin + 1
            local values = redis.call('GETRANGE', room.presence_key, (first - from) * 4, (last - from) * 4 + 3)
            for at = 1, #values - 3, 4 do
                local value = struct.unpack('<I4', values, at)
                if value > 0 and value < HELD then
                    if value <= grains then
                        over[#over + 1] = first + (at - 1) / 4
                    elseif not earliest or value < earliest then
                        earliest = value
                    end
                end
            end
        end
        if #over > 0 then
            local names = redis.call('LRANGE', room.line_key, first - room.head - 1, last - room.head - 1)
            for _, number in ipairs(over) do
                local client = names[number - first + 1]
                finished[#finished + 1] = client
                depart(room, client, number, 'vanished')
            end
        end
        if earliest then
            redis.call('ZADD', room.blocks_key, decimal(room.born + earliest * GRAIN), block)
        else
            redis.call('ZREM', room.blocks_key, block)
        end
    end
    if #finished > 0 then
        finish(room, finished)
        measure(room, 0, #finished)
    end
end

-- How many may be admitted now, by the cap, the opening and the pace; and the pace's interval in ms and its clock.
local function allowance(room)
    if is_held(room) then return 0 end
    local allowed = math.min(room.max - room.active, room.waiting, room.passes_left)
    if allowed <= 0 then return 0 end
    local interval, tat = pacing(room)
    if interval == 0 then return allowed, 0, room.tat end
    -- The generic cell rate algorithm (ITU-T I.371). A scheduler looks every some ms only: where the interval is
    -- shorter than a grain, what it missed within one is made up for.
    if tat < room.tat then change(room, 'tat', tat) end
    tat = math.max(tat, room.now - math.max(0, GRAIN - interval))
    if tat > room.now then return 0 end
    return math.min(allowed, math.floor((room.now - tat) / interval) + 1), interval, tat
end

-- Gives free places to whoever is next.
local function admit(room)
    local allowed, interval, tat = allowance(room)
    if allowed == 0 then return end
    local before = room.head
    local head, clients, numbers = room.head, {}, {}
    local has_blanks = redis.call('EXISTS', room.gone_key) == 1
    while #clients < allowed do
        local run = allowed - #clients
        if has_blanks then
            -- Those who left out of turn are passed over all at once, however many there are.
            local at = head - room.origin
            local live = redis.call('BITPOS', room.gone_key, 0, at, -1, 'BIT')
            if live < 0 then live = math.max(at, redis.call('STRLEN', room.gone_key) * 8) end
            if live > at then
                redis.call('LTRIM', room.line_key, live - at, -1)
                head = head + live - at
            end
            local blank = redis.call('BITPOS', room.gone_key, 1, live, -1, 'BIT')
            if blank >= 0 then run = math.min(run, blank - live) end
        end
        local names = redis.call('LPOP', room.line_key, math.min(CHUNK, run))
        if not names then break end
        for _, client in ipairs(names) do
            head = head + 1
            clients[#clients + 1] = client
            numbers[#numbers + 1] = head
        end
    end
    change(room, 'head', head)
    room.moved = true
    local admissions = #clients
    if admissions == 0 then return end

    local from = room.origin + 1
    local presence = redis.call('GETRANGE', room.presence_key, (before + 1 - from) * 4, (head - from) * 4 + 3)
    local expires = decimal(room.now + room.pass * 1000)
    local issued = decimal(room.now)
    local passes, owners, active, outbox, waited = {}, {}, {}, {}, 0
    for index, client in ipairs(clients) do
        local token = room.args[room.pass_at]
        room.pass_at = room.pass_at + 1
        local at = (numbers[index] - before - 1) * 4 + 1
        local is_held = #presence >= at + 3 and struct.unpack('<I4', presence, at) >= HELD
        passes[#passes + 1] = client
        passes[#passes + 1] = token .. ' ' .. issued .. ' ' .. expires .. ' ' .. (is_held and '1' or '0')
        owners[#owners + 1] = token
        owners[#owners + 1] = client
        active[#active + 1] = expires
        active[#active + 1] = client
        local outcome = 'g ' .. client .. ' ' .. token .. ' ' .. expires
        room.untold[#room.untold + 1] = outcome
        outbox[#outbox + 1] = issued
        outbox[#outbox + 1] = outcome
        if numbers[index] <= room.old_next then waited = waited + 1 end
    end
    room.passes_left = room.passes_left - admissions
    call_with('HDEL', room.members_key, clients)
    call_with('HSET', room.passes_key, passes)
    if room.owners_key then call_with('HSET', room.owners_key, owners) end
    call_with('ZADD', room.active_key, active)
    call_with('ZADD', room.outbox_key, outbox)
    call_with('ZREM', room.finished_key, clients)
    room.waiting = room.waiting - admissions
    room.active = room.active + admissions
    add(room, 'admitted', admissions)
    if interval > 0 then change(room, 'tat', tat + admissions * interval) end
    -- Places that are filled for the first time say nothing of how fast places fall free.
    local fresh = math.max(0, room.active - room.peak)
    if fresh > 0 then change(room, 'peak', room.active) end
    if interval > 0 then
        if waited > 0 then measure(room, waited, 0) end
    else
        if fresh > 0 then measure_anew(room) end
        local counted = math.min(waited, admissions - fresh)
        if counted > 0 then measure(room, counted, 0) end
    end
end

-- What every call ends with: runs out what has run out, fills free places. Returns the summary.
local function proceed(room)
    expire(room)
    admit(room)
    if not room.had_line and room.waiting > 0 then
        measure_anew(room)
        change(room, 'peak', room.active)
        change(room, 'ticked', room.now)
    end
    return close_room(room)
end
