-- Committing and giving back.
--
-- Locks are always taken in this order, each kind by ascending key, so that no two transactions wait for each other:
-- the sale's lock, accounts, orders, failed_orders, sale_counts.
-- Who commits or cancels shares the sale's lock. Who rebuilds the sale, or changes failed_orders by other means than
-- commit_orders, has it alone: so neither the sale's epoch nor that a (free) order failed changes under a commit.
-- The lock is an advisory one because waiting for those is fair: a rebuild is not starved by a stream of commits.

create function sale_lock(sale bigint) returns bigint
    language sql immutable
    return (7301::bigint << 48) | sale;

create function share_sales(sales bigint[]) returns void
    language plpgsql
as $$
begin
    perform pg_advisory_xact_lock_shared(s.key)
    from (select distinct sale_lock(sale) as key from unnest(sales) as sale order by key) as s;
end $$;

create function lock_sale(sale bigint) returns void
    language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(sale_lock(sale));
end $$;

-- Adds to the counts of this second: one for each time that a sale is named.
create function count_orders(confirmed bigint[], failed bigint[], cancelled bigint[]) returns void
    language sql
as $$
    insert into sale_counts (sale_id, at, counter, value)
    select sale_id, date_trunc('second', now()), counter, count(*)
    from (
        select unnest(confirmed) as sale_id, 'confirmed' as counter
        union all select unnest(failed), 'failed'
        union all select unnest(cancelled), 'cancelled'
    ) as made
    group by sale_id, counter
    order by sale_id, counter
    on conflict (sale_id, at, counter) do update set value = sale_counts.value + excluded.value
$$;

-- What became of one entry of a sale's stream: `confirmed`, `cancelled` or `failed` with the reason; anything else is
-- that it was not decided about.
--
-- When Redis lost its latest writes, it gives an order's id out again. So a row speaks for an entry only if it has the
-- same client and ticket. A retried order changes its ticket: given back, it stays so under a later one too; and an
-- entry that is not later than the one that failed has failed with it, whatever became of the retry.
-- What no row speaks for, although its id is taken, is of a state of the sale that is gone: `stale_epoch`.
create function outcome_of(a_sale bigint, a_sequence bigint, a_client text, a_ticket bigint, an_entry bigint)
    returns table (status text, reason text)
    language sql stable
as $$
    select
        case
            when x.client_id = a_client and (
                x.ticket = a_ticket
                or x.status = 'cancelled' and f.client_id = a_client and f.entry < an_entry) then x.status
            when x.sequence is not null then 'failed'
            when f.client_id = a_client and f.status <> 'failed' and f.entry < an_entry then f.status
            when f.sequence is not null then 'failed'
        end,
        case when f.client_id = a_client and (f.status = 'failed' or f.entry >= an_entry) then f.reason
            else 'stale_epoch' end
    from (select) as one
    left join orders x on x.sale_id = a_sale and x.sequence = a_sequence
    left join failed_orders f on f.sale_id = a_sale and f.sequence = a_sequence
$$;

-- Puts an order on the dead-letter list; true when it was never there. One that is being retried is back there. Nothing
-- when the place is another's, or this is a duplicate from before the retry.
create function record_failure(
    a_sale bigint, a_sequence bigint, a_client text, a_ticket bigint, a_slot bigint, an_accepted_at timestamptz,
    an_epoch bigint, a_key text, an_entry bigint, a_reason text, a_message text, some_attempts bigint
) returns boolean
    language plpgsql
as $$
begin
    insert into failed_orders (
        sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, entry, reason, message,
        attempts)
    values (
        a_sale, a_sequence, a_client, a_ticket, a_slot, an_accepted_at, an_epoch, a_key, an_entry, a_reason, a_message,
        some_attempts)
    on conflict (sale_id, sequence) do nothing;
    if found then
        return true;
    end if;
    update failed_orders
    set status = 'failed', reason = a_reason, message = a_message, attempts = attempts + some_attempts,
        ticket = a_ticket, slot = a_slot, epoch = an_epoch, entry = an_entry, failed_at = now()
    where sale_id = a_sale and sequence = a_sequence and status = 'retrying' and client_id = a_client
        and entry < an_entry;
    return false;
end $$;

-- Commits a batch. Answers only for orders that are not confirmed now, each by its place in the batch: cancelled ones,
-- and failed ones with the reason.
create function commit_orders(
    sale_ids bigint[], sequences bigint[], client_ids text[], tickets bigint[], slots bigint[],
    accepted_ats timestamptz[], epochs bigint[], idempotency_keys text[], entries bigint[]
) returns table (answered_place bigint, answered_status text, answered_reason text)
    language plpgsql
as $$
declare
    has_priced boolean;
    has_failed boolean;
    newly_confirmed bigint[];
    newly_failed bigint[] := '{}';
    o record;
begin
    perform share_sales(sale_ids);
    has_priced := exists (select from sales where id = any (sale_ids) and price > 0);
    has_failed := exists (
        select from unnest(sale_ids, sequences) as b (sale_id, sequence)
        join failed_orders using (sale_id, sequence));

    if has_priced then
        insert into accounts (client_id)
        select distinct b.client_id
        from unnest(sale_ids, client_ids) as b (sale_id, client_id)
        join sales s on s.id = b.sale_id and s.price > 0
        order by b.client_id
        on conflict (client_id) do nothing;
        perform from accounts
        where client_id in (
            select b.client_id
            from unnest(sale_ids, client_ids) as b (sale_id, client_id)
            join sales s on s.id = b.sale_id and s.price > 0)
        order by client_id
        for update;
    end if;

    with inserted as (
        insert into orders (
            sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price, idempotency_key,
            accepted_at, confirmed_at)
        select b.sale_id, b.sequence, b.client_id, b.ticket, b.slot, s.quantity, s.per_client_limit, 0,
            b.idempotency_key, b.accepted_at, now()
        from unnest(sale_ids, sequences, client_ids, tickets, slots, accepted_ats, epochs, idempotency_keys, entries)
            as b (sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, entry)
        join sales s on s.id = b.sale_id and s.price = 0 and s.epoch <= b.epoch
        where not has_failed or not exists (
            select from failed_orders f
            where f.sale_id = b.sale_id and f.sequence = b.sequence
                and (f.status <> 'retrying' or f.client_id <> b.client_id or f.entry >= b.entry))
        order by b.sale_id, b.sequence
        on conflict (sale_id, sequence) do nothing
        returning sale_id
    )
    select coalesce(array_agg(sale_id), '{}') into newly_confirmed from inserted;

    if cardinality(newly_confirmed) = cardinality(sequences) and not has_failed then
        perform count_orders(newly_confirmed, '{}', '{}');
        return;
    end if;

    if has_priced then
        -- Whoever inserts a priced order holds its client's account, locked above, so `not exists` stays true.
        -- Each client's first order in this batch: all at once.
        with waiting as (
            select b.*, s.price, s.quantity, s.per_client_limit,
                row_number() over (partition by b.client_id order by b.sale_id, b.sequence) as turn
            from unnest(sale_ids, sequences, client_ids, tickets, slots, accepted_ats, epochs, idempotency_keys, entries)
                as b (sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, entry)
            join sales s on s.id = b.sale_id and s.price > 0 and s.epoch <= b.epoch
            where not exists (select from orders x where x.sale_id = b.sale_id and x.sequence = b.sequence)
                and not exists (
                    select from failed_orders f
                    where f.sale_id = b.sale_id and f.sequence = b.sequence
                        and (f.status <> 'retrying' or f.client_id <> b.client_id or f.entry >= b.entry))
        ), charged as (
            update accounts a set balance = a.balance - w.price
            from waiting w
            where w.turn = 1 and a.client_id = w.client_id and a.balance >= w.price
            returning w.*
        ), booked as (
            insert into ledger_entries (client_id, amount, kind, reference)
            select client_id, -price, 'order', sale_id || '-' || sequence from charged
            order by client_id
        ), inserted as (
            insert into orders (
                sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price, idempotency_key,
                accepted_at, confirmed_at)
            select sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price, idempotency_key,
                accepted_at, now()
            from charged
            order by client_id
            returning sale_id
        )
        select newly_confirmed || coalesce(array_agg(sale_id), '{}') into newly_confirmed from inserted;

        -- The others, and those that could not be paid: one by one, as each changes what the next one finds.
        for o in
            select distinct on (b.client_id, b.sale_id, b.sequence) b.*, s.price, s.quantity, s.per_client_limit
            from unnest(sale_ids, sequences, client_ids, tickets, slots, accepted_ats, epochs, idempotency_keys, entries)
                as b (sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, entry)
            join sales s on s.id = b.sale_id and s.price > 0 and s.epoch <= b.epoch
            where not exists (select from orders x where x.sale_id = b.sale_id and x.sequence = b.sequence)
                and not exists (
                    select from failed_orders f
                    where f.sale_id = b.sale_id and f.sequence = b.sequence
                        and (f.status <> 'retrying' or f.client_id <> b.client_id or f.entry >= b.entry))
            order by b.client_id, b.sale_id, b.sequence
        loop
            update accounts set balance = balance - o.price where client_id = o.client_id and balance >= o.price;
            if found then
                insert into ledger_entries (client_id, amount, kind, reference)
                values (o.client_id, -o.price, 'order', o.sale_id || '-' || o.sequence);
                insert into orders (
                    sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price, idempotency_key,
                    accepted_at, confirmed_at)
                values (
                    o.sale_id, o.sequence, o.client_id, o.ticket, o.slot, o.quantity, o.per_client_limit, o.price,
                    o.idempotency_key, o.accepted_at, now());
                newly_confirmed := newly_confirmed || o.sale_id;
            elsif record_failure(
                o.sale_id, o.sequence, o.client_id, o.ticket, o.slot, o.accepted_at, o.epoch, o.idempotency_key, o.entry,
                'insufficient_points', 'the balance does not cover the price', 1)
            then
                newly_failed := newly_failed || o.sale_id;
            end if;
        end loop;
    end if;

    -- What no sale takes any more: it was rebuilt without them, does not exist, or gave their id to another order.
    for o in
        select distinct on (b.sale_id, b.sequence) b.*, s.id is null as is_unknown, x.sequence is not null as is_taken
        from unnest(sale_ids, sequences, client_ids, tickets, slots, accepted_ats, epochs, idempotency_keys, entries)
            as b (sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, entry)
        left join sales s on s.id = b.sale_id
        left join orders x on x.sale_id = b.sale_id and x.sequence = b.sequence
        where case
            when x.sequence is null then s.id is null or s.epoch > b.epoch
            when x.client_id = b.client_id and x.ticket = b.ticket then false
            else (
                select r.status = 'failed'
                from outcome_of(b.sale_id, b.sequence, b.client_id, b.ticket, b.entry) as r)
        end
        order by b.sale_id, b.sequence
    loop
        if record_failure(
            o.sale_id, o.sequence, o.client_id, o.ticket, o.slot, o.accepted_at, o.epoch, o.idempotency_key, o.entry,
            case when o.is_unknown then 'unknown_sale' else 'stale_epoch' end,
            case when o.is_unknown then 'there is no such sale'
                when o.is_taken then 'its id is the one of another order'
                else 'the sale was rebuilt before the order was committed' end, 1)
        then
            newly_failed := newly_failed || o.sale_id;
        end if;
    end loop;

    if has_failed then
        update failed_orders f set status = 'resolved'
        from unnest(sale_ids, sequences, client_ids, tickets, entries)
            as b (sale_id, sequence, client_id, ticket, entry)
        join orders x using (sale_id, sequence, client_id, ticket)
        where f.sale_id = b.sale_id and f.sequence = b.sequence and f.status = 'retrying'
            and f.client_id = b.client_id and f.entry < b.entry;
    end if;
    perform count_orders(newly_confirmed, newly_failed, '{}');

    return query
        select b.place, r.status, r.reason
        from unnest(sale_ids, sequences, client_ids, tickets, entries)
            with ordinality as b (sale_id, sequence, client_id, ticket, entry, place)
        cross join lateral outcome_of(b.sale_id, b.sequence, b.client_id, b.ticket, b.entry) as r
        where r.status is distinct from 'confirmed';
end $$;

-- Puts an order that PostgreSQL refuses on the dead-letter list, unless it was settled meanwhile.
create function fail_order(
    a_sale bigint, a_sequence bigint, a_client text, a_ticket bigint, a_slot bigint, an_accepted_at timestamptz,
    an_epoch bigint, a_key text, an_entry bigint, a_reason text, a_message text, some_attempts bigint
) returns table (status text, reason text)
    language plpgsql
as $$
declare
    is_taken boolean;
    settled text;
begin
    perform lock_sale(a_sale);
    is_taken := exists (select from orders x where x.sale_id = a_sale and x.sequence = a_sequence);
    settled := (select r.status from outcome_of(a_sale, a_sequence, a_client, a_ticket, an_entry) as r);
    if (not is_taken or settled = 'failed')
        and record_failure(
            a_sale, a_sequence, a_client, a_ticket, a_slot, an_accepted_at, an_epoch, a_key, an_entry,
            case when is_taken then 'stale_epoch' else a_reason end, a_message, some_attempts)
    then
        perform count_orders('{}', array[a_sale], '{}');
    end if;
    return query select r.* from outcome_of(a_sale, a_sequence, a_client, a_ticket, an_entry) as r;
end $$;

-- Gives an order back. Answers `cancelled` (and whether by this call), `failed`, or `not_found`: not committed yet, and
-- the caller does not know it either (its client is null), or its id is the one of another client's order.
create function cancel_order(
    a_sale bigint, a_sequence bigint, a_client text, a_ticket bigint, a_slot bigint, an_accepted_at timestamptz,
    a_key text
) returns table (outcome text, newly boolean)
    language plpgsql
as $$
declare
    s sales%rowtype;
    o orders%rowtype;
    failure failed_orders%rowtype;
    owner text;
begin
    perform share_sales(array[a_sale]);
    select * into s from sales where id = a_sale;
    owner := coalesce(
        (select x.client_id from orders x where x.sale_id = a_sale and x.sequence = a_sequence), a_client);
    if owner <> a_client then
        return query values ('not_found', false);
        return;
    elsif s.price > 0 and owner is not null then
        insert into accounts (client_id) values (owner) on conflict (client_id) do nothing;
        perform from accounts where client_id = owner for update;
    end if;

    select * into o from orders x where x.sale_id = a_sale and x.sequence = a_sequence for update;
    if not found then
        select * into failure from failed_orders f where f.sale_id = a_sale and f.sequence = a_sequence;
        if failure.client_id <> a_client then
            return query values ('not_found', false);
            return;
        elsif failure.status = 'failed' then
            return query values ('failed', false);
            return;
        elsif a_client is null or s.id is null then
            return query values ('not_found', false);
            return;
        end if;
        insert into orders (
            sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, status, price, idempotency_key,
            accepted_at, cancelled_at, released)
        values (
            a_sale, a_sequence, a_client, a_ticket, a_slot, s.quantity, s.per_client_limit, 'cancelled', 0, a_key,
            an_accepted_at, now(), false)
        on conflict (sale_id, sequence) do nothing;
        if found then
            update failed_orders f set status = 'resolved'
            where f.sale_id = a_sale and f.sequence = a_sequence and f.status = 'retrying';
            perform count_orders('{}', '{}', array[a_sale]);
            return query values ('cancelled', true);
            return;
        end if;
        -- Someone settled it in this moment.
        select * into o from orders x where x.sale_id = a_sale and x.sequence = a_sequence for update;
        if o.client_id <> a_client then
            return query values ('not_found', false);
            return;
        end if;
    end if;

    if o.status = 'cancelled' then
        return query values ('cancelled', false);
        return;
    end if;
    update orders x set status = 'cancelled', cancelled_at = now(), released = false
    where x.sale_id = a_sale and x.sequence = a_sequence;
    if o.price > 0 then
        update accounts set balance = balance + o.price where client_id = o.client_id;
        insert into ledger_entries (client_id, amount, kind, reference)
        values (o.client_id, o.price, 'refund', a_sale || '-' || a_sequence);
    end if;
    perform count_orders('{}', '{}', array[a_sale]);
    return query values ('cancelled', true);
end $$;

-- Takes an order of the dead-letter list up again; answers whether it is under retry now. To be asked for again when what
-- comes after it did not happen.
create function begin_retry(a_sale bigint, a_sequence bigint) returns boolean
    language plpgsql
as $$
begin
    perform lock_sale(a_sale);
    update failed_orders set status = 'retrying', retried_at = now()
    where sale_id = a_sale and sequence = a_sequence and status in ('failed', 'retrying');
    return found;
end $$;

-- Puts an order that is under retry back on the dead-letter list.
create function end_retry(a_sale bigint, a_sequence bigint, a_reason text) returns void
    language plpgsql
as $$
begin
    perform lock_sale(a_sale);
    update failed_orders set status = 'failed', reason = a_reason, message = a_reason
    where sale_id = a_sale and sequence = a_sequence and status = 'retrying';
end $$;

-- Adds points to an account, once for each reference; answers the balance.
create function charge_points(a_client text, points bigint, a_reference text) returns bigint
    language plpgsql
as $$
declare
    -- The largest whole number that JSON carries exactly.
    largest constant bigint := 9007199254740991;
    current_balance bigint;
begin
    insert into accounts (client_id) values (a_client) on conflict (client_id) do nothing;
    select balance into current_balance from accounts where client_id = a_client for update;
    insert into ledger_entries (client_id, amount, kind, reference)
    values (a_client, points, 'charge', a_client || ' ' || a_reference)
    on conflict (kind, reference) do nothing;
    if not found then
        return current_balance;
    elsif points > largest - current_balance then
        raise exception 'the balance would be too large' using errcode = 'numeric_value_out_of_range';
    end if;
    update accounts set balance = balance + points where client_id = a_client
    returning balance into current_balance;
    return current_balance;
end $$;
