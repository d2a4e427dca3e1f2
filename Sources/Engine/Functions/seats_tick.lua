-- dibs_seats_tick: ends holds whose time is over, and names those that are over but under payment: PostgreSQL has to
-- close them. Such a one is named again two seconds later, until PostgreSQL has decided.
--
-- KEYS, ARGV 1 2  as all functions of performances
-- Reply { due in ms or 0, ended, sequences and records under payment in turns, whether more is due now (0/1) }
local AGAIN = 2000

local function tick(keys, args)
    local performance = open_performance(keys, args)
    if not performance then return '?' end
    local closing = sweep(performance)
    local deadlines = performance.deadlines
    for index = 1, #closing, 2 do
        deadlines[#deadlines + 1] = decimal(performance.now + AGAIN)
        deadlines[#deadlines + 1] = closing[index]
    end
    close_performance(performance)
    local due = due_of(performance.deadlines_key)
    return { decimal(due), performance.ended, closing, due > 0 and due <= performance.now and 1 or 0 }
end

redis.register_function { function_name = 'dibs_seats_tick', callback = tick, flags = { 'allow-oom' } }
