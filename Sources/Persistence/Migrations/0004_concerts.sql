-- Concerts, reservations and payments (docs/seats.md), and the other half of the ledger.

create table concerts (
    id bigint generated always as identity primary key,
    name text not null check (length(name) > 0),
    created_at timestamptz not null default now()
);

create table performances (
    id bigint generated always as identity primary key,
    concert_id bigint not null references concerts,
    starts_at timestamptz not null,
    -- Of one seat. The largest reservation's price still is a bigint.
    price bigint not null check (price between 0 and 9007199254740991),
    room text collate "C" not null references rooms (id),
    hold_seconds bigint not null check (hold_seconds > 0),
    seats bigint not null check (seats between 1 and 100000),
    -- Null: no limit.
    per_client_limit bigint check (per_client_limit > 0),
    -- How often the performance's state in Redis was rebuilt; each epoch numbers its holds in a range of its own.
    epoch bigint not null default 0 check (epoch >= 0),
    created_at timestamptz not null default now(),
    -- What the reservations' foreign key points at.
    unique (id, seats, price)
);
create index performances_by_concert on performances (concert_id, starts_at);
create index performances_starts_at on performances (starts_at);

-- None where seats are just numbered.
create table performance_sections (
    performance_id bigint not null references performances,
    position bigint not null check (position > 0),
    name text not null check (length(name) > 0),
    rows bigint not null check (rows between 1 and 100000),
    seats_per_row bigint not null check (seats_per_row between 1 and 100000),
    primary key (performance_id, position)
);

-- A performance as the program reads it: a row for each section, or one where there is none.
create view performance_parts as
    select p.id, p.concert_id, p.starts_at, p.price, p.room, p.hold_seconds, p.per_client_limit, p.seats, p.epoch,
        s.position, s.name as section, s.rows, s.seats_per_row
    from performances p left join performance_sections s on s.performance_id = p.id;

create table reservations (
    performance_id bigint not null,
    sequence bigint not null check (sequence > 0),
    client_id text collate "C" not null check (length(client_id) between 1 and 64),
    status text collate "C" not null check (status in ('held', 'paid', 'expired', 'released')),
    -- Whether it has its seats.
    is_live boolean not null generated always as (status in ('held', 'paid')) stored,
    -- Copies of the performance's numbers, held true by the foreign key.
    performance_seats bigint not null,
    seat_price bigint not null,
    seat_count bigint not null check (seat_count between 1 and 1000),
    price bigint not null generated always as (seat_price * seat_count) stored,
    held_at timestamptz not null,
    expires_at timestamptz not null,
    paid_at timestamptz,
    ended_at timestamptz,
    -- Why it expired, where that was not its deadline. `superseded`: a newer hold has a seat of it, so it is over, and
    -- how it ended is still to be heard. `refused`: PostgreSQL could not take it; so it stays.
    cause text collate "C" check (cause in ('superseded', 'refused')),
    -- False from a payment, or a refund, until Redis knows of it and the client is told.
    settled boolean not null default true,
    primary key (performance_id, sequence),
    foreign key (performance_id, performance_seats, seat_price) references performances (id, seats, price),
    -- What the seats' foreign key points at.
    unique (performance_id, sequence, performance_seats, is_live),
    constraint reservations_paid_at check (
        case status when 'paid' then paid_at is not null when 'released' then true else paid_at is null end),
    constraint reservations_ended_at check ((status in ('expired', 'released')) = (ended_at is not null)),
    constraint reservations_cause check (cause is null or status = 'expired'),
    constraint reservations_settled check (settled or paid_at is not null),
    check (expires_at >= held_at)
);
create index reservations_by_client on reservations (client_id, held_at);
create index reservations_held on reservations (performance_id) where status = 'held';
create index reservations_unsettled on reservations ((coalesce(ended_at, paid_at))) where not settled;

-- The seats of a reservation are live as long as it is: the foreign key says so, and carries a change on.
create table reservation_seats (
    performance_id bigint not null,
    sequence bigint not null,
    seat bigint not null,
    performance_seats bigint not null,
    is_live boolean not null,
    primary key (performance_id, sequence, seat),
    foreign key (performance_id, sequence, performance_seats, is_live)
        references reservations (performance_id, sequence, performance_seats, is_live) on update cascade,
    constraint reservation_seats_within_seats check (seat between 1 and performance_seats)
);
create unique index reservation_seats_one_holder on reservation_seats (performance_id, seat) where is_live;

-- One a reservation, ever.
create table payments (
    id bigint generated always as identity primary key,
    performance_id bigint not null,
    sequence bigint not null,
    client_id text collate "C" not null check (length(client_id) between 1 and 64),
    amount bigint not null check (amount >= 0),
    idempotency_key text collate "C",
    paid_at timestamptz not null default now(),
    refunded_at timestamptz,
    unique (performance_id, sequence),
    foreign key (performance_id, sequence) references reservations (performance_id, sequence)
);

-- A reservation as the program reads it. One that is superseded has ended, but how, is still to be heard.
create view stored_reservations as
    select r.performance_id, r.sequence, r.client_id,
        array(
            select s.seat from reservation_seats s
            where s.performance_id = r.performance_id and s.sequence = r.sequence order by s.seat) as seats,
        case when r.cause = 'superseded' then 'held' else r.status end as status, r.price, r.held_at, r.expires_at, r.paid_at, r.ended_at, p.id as payment_id, r.is_live, r.settled
    from reservations r
    left join payments p on p.performance_id = r.performance_id and p.sequence = r.sequence;

-- Double entry: each row moves points between a client's account and one of the house. What `amount` gives the client,
-- the other account loses.
alter table ledger_entries drop constraint ledger_entries_kind_check;
alter table ledger_entries
    add constraint ledger_entries_kind_check
        check (kind in ('charge', 'order', 'refund', 'payment', 'payment_refund')),
    add constraint ledger_entries_direction_check
        check ((amount > 0) = (kind in ('charge', 'refund', 'payment_refund'))),
    add column contra text collate "C" not null
        generated always as (case kind when 'charge' then 'issued' else 'takings' end) stored;

-- Both legs of each movement. Those of a client add up to its balance, those of all accounts to 0. A client may have the
-- name of an account of the house: `is_house` tells them apart.
create view ledger_legs as
    select client_id as account, false as is_house, amount, kind, reference, at from ledger_entries
    union all
    select contra, true, -amount, kind, reference, at from ledger_entries;
