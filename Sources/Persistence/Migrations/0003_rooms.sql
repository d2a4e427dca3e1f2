-- Waiting rooms, and the draws of those that draw lots.

create table rooms (
    -- The characters of a client's id: it becomes part of Redis' keys.
    id text collate "C" primary key check (id ~ '^[A-Za-z0-9._:-]{1,64}$'),
    max_active bigint not null check (max_active between 0 and 10000000),
    pass_seconds bigint not null check (pass_seconds between 1 and 604800),
    -- Null: no limit but max_active.
    admit_per_minute bigint check (admit_per_minute > 0),
    grace_seconds bigint not null check (grace_seconds between 1 and 86400),
    ordering text collate "C" not null check (ordering in ('fifo', 'random', 'passthrough', 'reject')),
    -- Of the limits.
    version bigint not null default 1 check (version > 0),
    -- 256 random bits: a random UUID has 122.
    seed text collate "C" not null check (seed ~ '^[0-9a-f]{64}$')
        default encode(
            sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'),
    -- Of the seed's characters. The cast reads a text without backslashes as the bytes that it consists of, and may stand
    -- in a generated column, which convert_to() may not.
    seed_sha256 text collate "C" not null generated always as (encode(sha256(seed::bytea), 'hex')) stored,
    drawn_at timestamptz,
    created_at timestamptz not null default now()
);

insert into rooms (id, max_active, pass_seconds, grace_seconds, ordering) values ('main', 100, 300, 30, 'fifo');

alter table sales add constraint sales_room_fkey foreign key (room) references rooms (id);
create index sales_with_room on sales (closes_at) where room is not null;

-- Who takes part in a draw.
create table draw_entries (
    room_id text collate "C" not null references rooms,
    client_id text collate "C" not null check (length(client_id) between 1 and 64),
    primary key (room_id, client_id)
);

-- What was drawn. Not a column of draw_entries: to change a million rows with two indexes takes five times as long as to
-- write them anew in the order of the only one. No foreign keys for the same reason: one statement copies the entries.
create table draw_places (
    room_id text collate "C" not null,
    position bigint not null check (position > 0),
    client_id text collate "C" not null,
    primary key (room_id, position)
);
