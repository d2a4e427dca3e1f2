-- Writing reservations, paying and refunding.
--
-- Locks are always taken in this order, each kind by ascending key, so that no two transactions wait for each other:
-- the performance's lock, the account, reservations, their seats.
-- Who writes reservations shares the performance's lock, who rebuilds the performance has it alone: so its epoch stands
-- still under a commit and a payment.
-- What none of these locks can cover is a seat, or a row, that somebody else is inserting in this moment: whoever comes
-- upon it, after waiting, begins the whole transaction anew (serialization_failure, which the program tries again).

create function performance_lock(performance bigint) returns bigint
    language sql immutable
    return (7303::bigint << 48) | performance;

create function share_performances(performances bigint[]) returns void
    language plpgsql
as $$
begin
    perform pg_advisory_xact_lock_shared(p.key)
    from (
        select distinct performance_lock(performance) as key from unnest(performances) as performance order by key
    ) as p;
end $$;

create function lock_performance(performance bigint) returns void
    language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(performance_lock(performance));
end $$;

-- Writes what became of one hold: `held`, `expired` or `released`. The row is there and locked afterwards, in whatever
-- status it has. Answers whether it is this hold's: false when PostgreSQL has no such performance, or when the row of its
-- id has another client or other seats.
--
-- A hold of an older epoch that is not known is refused. Of two holds of a seat the newer one is right: Redis gave it the
-- seat when the older one was over, even if that is not heard of yet. Only a paid one keeps its seats: then Redis has lost
-- writes, and the newer one is refused.
create function write_reservation(
    a_performance bigint, a_sequence bigint, a_client text, a_status text, a_held_at timestamptz,
    an_expires_at timestamptz, an_epoch bigint, some_seats bigint[]
) returns boolean
    language plpgsql
as $$
declare
    p performances%rowtype;
    r reservations%rowtype;
    the_cause text;
    the_status text := a_status;
    inserted bigint;
begin
    select * into r from reservations x where x.performance_id = a_performance and x.sequence = a_sequence for update;
    if found then
        if r.client_id <> a_client or some_seats is distinct from array(
            select s.seat from reservation_seats s
            where s.performance_id = a_performance and s.sequence = a_sequence order by s.seat)
        then
            return false;
        elsif a_status <> 'held' and (r.status = 'held' or r.cause = 'superseded') then
            update reservations x
            set status = a_status, cause = null,
                ended_at = case a_status when 'expired' then x.expires_at else now() end
            where x.performance_id = a_performance and x.sequence = a_sequence;
        end if;
        return true;
    end if;

    select * into p from performances x where x.id = a_performance;
    if not found then
        return false;
    elsif a_status = 'held' and p.epoch > an_epoch then
        the_cause := 'refused';
    elsif a_status = 'held' then
        perform from reservations x
        where x.performance_id = a_performance and x.sequence in (
            select s.sequence from reservation_seats s
            where s.performance_id = a_performance and s.seat = any (some_seats) and s.is_live)
        order by x.sequence
        for update;
        select case
            when bool_or(x.sequence > a_sequence) then 'superseded'
            when bool_or(x.status = 'paid') then 'refused' end
        into the_cause
        from reservation_seats s join reservations x using (performance_id, sequence)
        where s.performance_id = a_performance and s.seat = any (some_seats) and s.is_live;
    end if;
    if the_cause is not null then
        the_status := 'expired';
    end if;

    insert into reservations (
        performance_id, sequence, client_id, status, performance_seats, seat_price, seat_count, held_at, expires_at,
        ended_at, cause)
    values (
        a_performance, a_sequence, a_client, the_status, p.seats, p.price, cardinality(some_seats), a_held_at,
        an_expires_at,
        case when the_status = 'held' then null when the_status = a_status and the_cause is null
            and a_status = 'expired' then an_expires_at else now() end,
        the_cause)
    -- By whichever of the two unique indexes it is found.
    on conflict do nothing;
    if not found then
        raise exception 'the reservation was written meanwhile' using errcode = 'serialization_failure';
    end if;
    if the_status = 'held' then
        update reservations x set status = 'expired', cause = 'superseded', ended_at = now()
        where x.performance_id = a_performance and x.status = 'held' and x.sequence in (
            select s.sequence from reservation_seats s
            where s.performance_id = a_performance and s.seat = any (some_seats) and s.is_live);
    end if;
    insert into reservation_seats (performance_id, sequence, seat, performance_seats, is_live)
    select a_performance, a_sequence, seat, p.seats, the_status = 'held' from unnest(some_seats) as seat order by seat
    on conflict (performance_id, seat) where is_live do nothing;
    get diagnostics inserted = row_count;
    if inserted <> cardinality(some_seats) then
        -- One that names a seat twice loses no race: to try it again would help nobody.
        raise exception 'a seat is taken' using errcode = case
            when (select count(distinct seat) from unnest(some_seats) as seat) < cardinality(some_seats)
                then 'unique_violation' else 'serialization_failure' end;
    end if;
    return true;
end $$;

-- Writes what became of many holds, no two of the same id, and no two `held` ones with the same seat. Seats are given
-- beside them, each with the id of its reservation, and as many of them as `seat_counts` says. Answers the places in the
-- batch of those that are refused, now or before.
create function commit_reservations(
    performance_ids bigint[], sequences bigint[], client_ids text[], statuses text[], held_ats timestamptz[],
    expires_ats timestamptz[], epochs bigint[], seat_counts bigint[],
    seat_performance_ids bigint[], seat_sequences bigint[], seat_numbers bigint[]
) returns table (refused_place bigint)
    language plpgsql
as $$
declare
    known bigint;
    inserted bigint;
    seated bigint;
    promised bigint;
    o record;
begin
    perform share_performances(performance_ids);

    -- The rows of these, and of whoever else has their seats.
    with locked as (
        select from reservations r
        where (r.performance_id, r.sequence) in (
            select b.performance_id, b.sequence from unnest(performance_ids, sequences) as b (performance_id, sequence)
            union all
            select l.performance_id, l.sequence
            from unnest(seat_performance_ids, seat_numbers) as s (performance_id, seat)
            join reservation_seats l
                on l.performance_id = s.performance_id and l.seat = s.seat and l.is_live)
        order by r.performance_id, r.sequence
        for update
    )
    select count(*) into known from locked;

    if known > 0 then
        with same as (
            select b.performance_id, b.sequence, b.status
            from unnest(performance_ids, sequences, client_ids, statuses, seat_counts)
                as b (performance_id, sequence, client_id, status, seat_count)
            join reservations r using (performance_id, sequence, client_id, seat_count)
            join unnest(seat_performance_ids, seat_sequences, seat_numbers) as s (performance_id, sequence, seat)
                using (performance_id, sequence)
            join reservation_seats k using (performance_id, sequence, seat)
            where b.status <> 'held' and (r.status = 'held' or r.cause = 'superseded')
            group by b.performance_id, b.sequence, b.status, b.seat_count
            having count(*) = b.seat_count
        )
        update reservations r
        set status = same.status, cause = null,
            ended_at = case same.status when 'expired' then r.expires_at else now() end
        from same
        where r.performance_id = same.performance_id and r.sequence = same.sequence;
    end if;

    -- All that is new, and takes no seat from another.
    with written as (
        insert into reservations (
            performance_id, sequence, client_id, status, performance_seats, seat_price, seat_count, held_at, expires_at,
            ended_at)
        select b.performance_id, b.sequence, b.client_id, b.status, p.seats, p.price, b.seat_count, b.held_at,
            b.expires_at, case b.status when 'expired' then b.expires_at when 'released' then now() end
        from unnest(
                performance_ids, sequences, client_ids, statuses, held_ats, expires_ats, epochs, seat_counts)
            as b (performance_id, sequence, client_id, status, held_at, expires_at, epoch, seat_count)
        join performances p on p.id = b.performance_id and (p.epoch <= b.epoch or b.status <> 'held')
        where known = 0 or b.status <> 'held' or (b.performance_id, b.sequence) not in (
            select s.performance_id, s.sequence
            from unnest(seat_performance_ids, seat_sequences, seat_numbers) as s (performance_id, sequence, seat)
            join reservation_seats l
                on l.performance_id = s.performance_id and l.seat = s.seat and l.is_live)
        order by b.performance_id, b.sequence
        -- By whichever of the two unique indexes it is found.
        on conflict do nothing
        returning performance_id, sequence, performance_seats, is_live, seat_count
    ), placed as (
        insert into reservation_seats (performance_id, sequence, seat, performance_seats, is_live)
        select w.performance_id, w.sequence, s.seat, w.performance_seats, w.is_live
        from written w
        join unnest(seat_performance_ids, seat_sequences, seat_numbers) as s (performance_id, sequence, seat)
            using (performance_id, sequence)
        order by w.performance_id, s.seat
        on conflict (performance_id, seat) where is_live do nothing
        returning 1
    )
    select (select count(*) from written), (select count(*) from placed),
        (select coalesce(sum(seat_count), 0) from written)
    into inserted, seated, promised;
    if seated <> promised then
        -- As above.
        raise exception 'a seat is taken' using errcode = case
            when exists (
                select from unnest(seat_performance_ids, seat_sequences, seat_numbers)
                    as s (performance_id, sequence, seat)
                group by performance_id, sequence, seat having count(*) > 1)
                then 'unique_violation' else 'serialization_failure' end;
    elsif inserted = cardinality(sequences) then
        return;
    end if;

    -- What is left: holds that take seats from others, or that no performance takes any more. One by one.
    for o in
        select b.*, array(
            select s.seat
            from unnest(seat_performance_ids, seat_sequences, seat_numbers) as s (performance_id, sequence, seat)
            where s.performance_id = b.performance_id and s.sequence = b.sequence order by s.seat) as seats
        from unnest(performance_ids, sequences, client_ids, statuses, held_ats, expires_ats, epochs)
            as b (performance_id, sequence, client_id, status, held_at, expires_at, epoch)
        where not exists (
            select from reservations r where r.performance_id = b.performance_id and r.sequence = b.sequence)
        order by b.performance_id, b.sequence
    loop
        perform write_reservation(
            o.performance_id, o.sequence, o.client_id, o.status, o.held_at, o.expires_at, o.epoch, o.seats);
    end loop;

    return query
        select b.place
        from unnest(performance_ids, sequences, client_ids, statuses, seat_counts)
            with ordinality as b (performance_id, sequence, client_id, status, seat_count, place)
        left join unnest(seat_performance_ids, seat_sequences, seat_numbers) as s (performance_id, sequence, seat)
            using (performance_id, sequence)
        left join reservations r
            on r.performance_id = b.performance_id and r.sequence = b.sequence and r.client_id = b.client_id
                and r.seat_count = b.seat_count and r.cause is distinct from 'refused'
        left join reservation_seats k
            on k.performance_id = r.performance_id and k.sequence = r.sequence and k.seat = s.seat
        group by b.place
        -- What was paid does not end by the log: Redis has lost the payment.
        having count(k.seat) < count(*) or bool_or(b.status <> 'held' and r.status = 'paid')
        order by b.place;
end $$;

-- Pays for a hold. Answers `paid`, `repeated` or `already_paid` with the payment's number, `over`, `stale`, `wrong_price`
-- with what it costs, `insufficient_points` with the balance; or `rebuilt`: the payment began in another epoch of the
-- performance, and Redis, which is to keep the seats meanwhile, does not know of it any more.
create function pay_reservation(
    a_performance bigint, a_sequence bigint, a_client text, a_held_at timestamptz, an_expires_at timestamptz,
    an_epoch bigint, some_seats bigint[], a_point bigint, a_key text
) returns table (outcome text, number bigint)
    language plpgsql
as $$
declare
    r reservations%rowtype;
    paid payments%rowtype;
    current_balance bigint := 0;
begin
    perform share_performances(array[a_performance]);
    if exists (select from performances where id = a_performance and epoch <> an_epoch) then
        return query values ('rebuilt', null::bigint);
        return;
    end if;
    if exists (select from performances where id = a_performance and price > 0) then
        insert into accounts (client_id) values (a_client) on conflict (client_id) do nothing;
        select balance into current_balance from accounts where client_id = a_client for update;
    end if;
    if not write_reservation(
        a_performance, a_sequence, a_client, 'held', a_held_at, an_expires_at, an_epoch, some_seats)
    then
        return query values ('stale', null::bigint);
        return;
    end if;

    select * into r from reservations x where x.performance_id = a_performance and x.sequence = a_sequence;
    if r.status = 'paid' then
        select * into paid from payments x where x.performance_id = a_performance and x.sequence = a_sequence;
        return query values (case when paid.idempotency_key = a_key then 'repeated' else 'already_paid' end, paid.id);
    elsif r.status <> 'held' then
        return query values (case when r.cause is null then 'over' else 'stale' end, null::bigint);
    elsif a_point is distinct from r.price then
        return query values ('wrong_price', r.price);
    elsif current_balance < r.price then
        return query values ('insufficient_points', current_balance);
    else
        if r.price > 0 then
            update accounts set balance = balance - r.price where client_id = a_client;
            insert into ledger_entries (client_id, amount, kind, reference)
            values (a_client, -r.price, 'payment', a_performance || '-' || a_sequence);
        end if;
        update reservations x set status = 'paid', paid_at = now(), settled = false
        where x.performance_id = a_performance and x.sequence = a_sequence;
        insert into payments (performance_id, sequence, client_id, amount, idempotency_key)
        values (a_performance, a_sequence, a_client, r.price, a_key)
        returning * into paid;
        return query values ('paid', paid.id);
    end if;
end $$;

-- Ends a hold whose time is over, unless it was paid; answers the status that it has.
create function close_reservation(
    a_performance bigint, a_sequence bigint, a_client text, a_held_at timestamptz, an_expires_at timestamptz,
    an_epoch bigint, some_seats bigint[]
) returns text
    language plpgsql
as $$
begin
    perform share_performances(array[a_performance]);
    if not write_reservation(
        a_performance, a_sequence, a_client, 'expired', a_held_at, an_expires_at, an_epoch, some_seats)
    then
        -- PostgreSQL never had this one, whoever's the row of its id is.
        return 'expired';
    end if;
    return (select x.status from reservations x where x.performance_id = a_performance and x.sequence = a_sequence);
end $$;

-- Cancels a paid reservation and gives its price back. Answers whether by this call; false when it was not paid.
create function refund_reservation(a_performance bigint, a_sequence bigint) returns boolean
    language plpgsql
as $$
declare
    r reservations%rowtype;
begin
    perform share_performances(array[a_performance]);
    -- Neither the client nor the price of a row ever changes.
    select * into r from reservations x where x.performance_id = a_performance and x.sequence = a_sequence;
    if not found then
        return false;
    elsif r.price > 0 then
        perform from accounts where client_id = r.client_id for update;
    end if;
    update reservations x set status = 'released', ended_at = now(), settled = false
    where x.performance_id = a_performance and x.sequence = a_sequence and x.status = 'paid';
    if not found then
        return false;
    end if;
    update payments x set refunded_at = now() where x.performance_id = a_performance and x.sequence = a_sequence;
    if r.price > 0 then
        update accounts set balance = balance + r.price where client_id = r.client_id;
        insert into ledger_entries (client_id, amount, kind, reference)
        values (r.client_id, r.price, 'payment_refund', a_performance || '-' || a_sequence);
    end if;
    return true;
end $$;
