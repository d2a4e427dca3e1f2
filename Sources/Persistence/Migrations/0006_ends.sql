-- Two committers may write a hold and its end at the same moment, each having read one entry of the log. The one with the
-- end sees no row at first, loses against the other's when it inserts its own, and found nothing left to do: the hold
-- stayed for ever. Now it sees that the end is not there, and begins anew.

alter function commit_reservations(
    bigint[], bigint[], text[], text[], timestamptz[], timestamptz[], bigint[], bigint[], bigint[], bigint[], bigint[]
) rename to write_reservations;

-- Writes what became of many holds, as `write_reservations` says.
create function commit_reservations(
    performance_ids bigint[], sequences bigint[], client_ids text[], statuses text[], held_ats timestamptz[],
    expires_ats timestamptz[], epochs bigint[], seat_counts bigint[],
    seat_performance_ids bigint[], seat_sequences bigint[], seat_numbers bigint[]
) returns table (refused_place bigint)
    language plpgsql
as $$
declare
    refused bigint[];
begin
    select array_agg(w.refused_place order by w.refused_place) into refused
    from write_reservations(
        performance_ids, sequences, client_ids, statuses, held_ats, expires_ats, epochs, seat_counts,
        seat_performance_ids, seat_sequences, seat_numbers) as w;
    if exists (
        select from unnest(performance_ids, sequences, client_ids, statuses, seat_counts)
            with ordinality as b (performance_id, sequence, client_id, status, seat_count, place)
        join reservations r using (performance_id, sequence, client_id, seat_count)
        where b.status <> 'held' and (r.status = 'held' or r.cause = 'superseded')
            and b.place <> all (coalesce(refused, '{}')))
    then
        raise exception 'a hold was written meanwhile' using errcode = 'serialization_failure';
    end if;
    return query select unnest(refused);
end $$;
