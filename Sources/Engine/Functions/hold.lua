-- dibs_hold: decides any number of holds of one performance, in their order: each gets all of its seats, or none.
--
-- KEYS, ARGV 1 2  as all functions of performances; then
-- ARGV  … clients, one a hold
--       … seats, one list a hold: `1,2,3`, ascending
-- Reply '?' when the performance is unknown; else { words, ended }. Words: one a hold, separated by spaces:
--       h<sequence>:<held>:<expires>:<price>  held
--       r…                                    repeated: the client holds exactly these; the same again
--       t<seats>                              taken: these of them are not free, or are no seats of this performance;
--                                             at least one, not always all: in a call each list is looked at once
--       l                                     the client would have more than it may
--
-- Holds see those before them. Whatever the number of holds there is one read of the state and one of the clients, and
-- each key is written once; one command each are only the entries of the log, and what a client has already, where that
-- matters. A repeated hold is not counted.

-- The seats of a list, and those that can't be had as an answer; the second is nil when all can.
local function wanted(performance, list)
    local seats, taken, last = {}, {}, 0
    for word in string.gmatch(list, '[^,]+') do
        local seat = tonumber(word)
        -- What is no seat, or comes twice, nobody can have.
        if not seat or seat <= last or seat > performance.seats or seat % 1 ~= 0
            or letter_of(performance, seat) ~= 'f' then
            taken[#taken + 1] = word
        end
        seats[#seats + 1] = seat
        last = seat or last
    end
    if #taken > 0 or #seats == 0 then return seats, 't' .. table.concat(taken, ',') end
    return seats, nil
end

-- What a client has by now: `again`, list of seats → the answer for the same seats again; `count`, all of its seats.
local function holdings(performance, client)
    local sequences, texts, stored = {}, {}, {}
    for sequence in string.gmatch(owned_by(performance, client), '%S+') do
        sequences[#sequences + 1] = sequence
        texts[sequence] = performance.records[sequence]
        if not texts[sequence] then stored[#stored + 1] = sequence end
    end
    lookup(performance.holds_key, stored, 1, #stored, texts)
    local found = { again = {}, count = 0 }
    for _, sequence in ipairs(sequences) do
        local record = read_record(texts[sequence])
        local _, commas = string.gsub(record.seats, ',', '')
        found.count = found.count + commas + 1
        -- One that is over may still be there, where more ran out than one call ends.
        if record.status == 'h' and (record.paying ~= '0' or not is_over(performance, record)) then
            found.again[record.seats] = 'r' .. sequence .. ':' .. record.held .. ':' .. record.expires .. ':'
                .. record.price
        end
    end
    return found
end

local function hold(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local total = (#args - 2) / 2
    lookup(performance.clients_key, args, 3, 2 + total, performance.owned)
    sweep(performance)
    local held, expires = decimal(performance.now), decimal(performance.now + performance.hold * 1000)
    local replies, refused, known = {}, {}, {}
    for index = 1, total do
        local client, list = args[2 + index], args[2 + total + index]
        local has_some = (performance.owned[client] or '') ~= ''
        local seats
        -- What is taken stays so until the end of the call: nothing more is freed.
        local reply = refused[list]
        if not reply then
            seats, reply = wanted(performance, list)
            refused[list] = reply
        end
        local mine = known[client]
        if not mine and has_some and (reply or performance.limit > 0) then
            mine = holdings(performance, client)
            known[client] = mine
        end
        if reply then
            if mine and mine.again[list] then
                reply = mine.again[list]
            else
                add_count(performance, 'requests')
                add_count(performance, 'refused:seat_taken')
            end
        elseif performance.limit > 0 and (mine and mine.count or 0) + #seats > performance.limit then
            reply = 'l'
            add_count(performance, 'requests')
            add_count(performance, 'refused:duplicate')
        else
            performance.sequence = performance.sequence + 1
            local sequence = decimal(performance.sequence)
            local record = {
                status = 'h', client = client, held = held, expires = expires,
                price = decimal(performance.price * #seats), paying = '0', seats = list,
            }
            for _, seat in ipairs(seats) do paint_seat(performance, seat, 'h') end
            performance.records[sequence] = record_text(record)
            local deadlines = performance.deadlines
            deadlines[#deadlines + 1] = expires
            deadlines[#deadlines + 1] = sequence
            set_owned(performance, client, has_some and performance.owned[client] .. ' ' .. sequence or sequence)
            known[client] = nil
            write_log(performance, 'h', sequence, record)
            add_count(performance, 'requests')
            add_count(performance, 'held')
            reply = 'h' .. sequence .. ':' .. held .. ':' .. expires .. ':' .. record.price
        end
        replies[index] = reply
    end
    close_performance(performance)
    return { table.concat(replies, ' '), performance.ended }
end

redis.register_function('dibs_hold', hold)
