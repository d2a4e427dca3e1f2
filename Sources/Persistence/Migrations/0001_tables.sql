-- The tables of docs/database.md. What is true of a row is said by a constraint, so that a bug above fails instead of lying.

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'the database is encoded in %, it has to be UTF8', current_setting('server_encoding');
    end if;
end $$;

create table sales (
    id bigint generated always as identity primary key,
    name text not null check (length(name) > 0),
    quantity bigint not null check (quantity > 0),
    price bigint not null check (price >= 0),
    per_client_limit bigint not null check (per_client_limit > 0),
    room text,
    reject_percent bigint not null check (reject_percent between 0 and 100),
    opens_at timestamptz not null,
    closes_at timestamptz not null,
    cancelled boolean not null default false,
    window_version bigint not null default 1 check (window_version > 0),
    window_changed_at timestamptz not null default now(),
    -- How often the sale's state in Redis was rebuilt; each epoch numbers its orders in a range of its own.
    epoch bigint not null default 0 check (epoch >= 0),
    created_at timestamptz not null default now(),
    check (opens_at <= closes_at),
    -- What the orders' foreign key points at.
    unique (id, quantity, per_client_limit)
);
create index sales_closes_at on sales (closes_at);
create index sales_cancelled on sales (window_changed_at) where cancelled;

create table orders (
    sale_id bigint not null,
    sequence bigint not null check (sequence > 0),
    client_id text collate "C" not null check (length(client_id) between 1 and 64),
    ticket bigint not null,
    slot bigint not null,
    -- Copies of the sale's numbers, held true by the foreign key, so that CHECK can use them.
    quantity bigint not null,
    per_client_limit bigint not null,
    status text collate "C" not null default 'confirmed' check (status in ('confirmed', 'cancelled')),
    -- Points charged for it; 0 when it was cancelled before it was committed.
    price bigint not null check (price >= 0),
    idempotency_key text collate "C",
    accepted_at timestamptz not null,
    confirmed_at timestamptz,
    cancelled_at timestamptz,
    -- False from a cancellation until Redis has the ticket back.
    released boolean not null default true,
    primary key (sale_id, sequence),
    foreign key (sale_id, quantity, per_client_limit) references sales (id, quantity, per_client_limit),
    constraint orders_ticket_within_quantity check (ticket between 1 and quantity),
    constraint orders_slot_within_limit check (slot between 1 and per_client_limit),
    check ((status = 'cancelled') = (cancelled_at is not null)),
    check (status = 'cancelled' or (confirmed_at is not null and released))
);
create unique index orders_one_per_ticket on orders (sale_id, ticket) where status = 'confirmed';
-- The client comes first, so that it also answers "what does this client have".
create unique index orders_one_per_slot on orders (client_id, sale_id, slot) where status = 'confirmed';
create index orders_cancelled on orders (client_id, sale_id) where status = 'cancelled';
create index orders_unreleased on orders (cancelled_at) where not released;

-- Orders that could not be committed. No foreign key: it has to be able to hold whatever was refused.
create table failed_orders (
    number bigint generated always as identity primary key,
    sale_id bigint not null,
    sequence bigint not null,
    client_id text collate "C" not null,
    ticket bigint not null,
    slot bigint not null,
    accepted_at timestamptz not null,
    epoch bigint not null,
    idempotency_key text collate "C",
    -- The number of the stream's entry that failed. One that is not greater is a duplicate from before a retry.
    entry bigint not null,
    reason text not null,
    message text not null,
    attempts bigint not null check (attempts > 0),
    status text collate "C" not null default 'failed' check (status in ('failed', 'retrying', 'resolved')),
    failed_at timestamptz not null default now(),
    -- When it was taken up again last.
    retried_at timestamptz,
    unique (sale_id, sequence),
    check (status <> 'retrying' or retried_at is not null)
);
create index failed_orders_by_client on failed_orders (client_id, sale_id);
create index failed_orders_retrying on failed_orders (retried_at) where status = 'retrying';

create table accounts (
    client_id text collate "C" primary key check (length(client_id) between 1 and 64),
    balance bigint not null default 0 check (balance >= 0)
);

-- A balance is the sum of its entries. `reference` is the order's id; for a charge, the client, a space, and what the
-- caller named it by.
create table ledger_entries (
    id bigint generated always as identity primary key,
    client_id text collate "C" not null references accounts,
    amount bigint not null check (amount <> 0),
    kind text collate "C" not null check (kind in ('charge', 'order', 'refund')),
    reference text collate "C" not null,
    at timestamptz not null default now(),
    unique (kind, reference)
);
create index ledger_entries_by_client on ledger_entries (client_id);

-- Counts per second. No foreign key: what Redis counted is kept even of a sale that PostgreSQL does not know.
create table sale_counts (
    sale_id bigint not null,
    at timestamptz not null,
    counter text collate "C" not null,
    value bigint not null check (value >= 0),
    primary key (sale_id, at, counter)
) with (fillfactor = 70);
create index sale_counts_at on sale_counts (at);

create table sale_moments (
    sale_id bigint primary key,
    first_claim_at timestamptz,
    sold_out_at timestamptz
);

create table users (
    name text not null,
    -- The name in lower case and in Unicode's normal form C: two names that look alike are one.
    name_key text collate "C" primary key,
    client_id text collate "C" not null unique,
    password_hash text not null,
    created_at timestamptz not null default now()
);

create table revoked_tokens (
    id text collate "C" primary key,
    expires_at timestamptz not null
);
