"""The same sale as a Python service: FastAPI on uvicorn with uvloop, redis-py with hiredis, asyncpg.

What `make bench` measures Dibs beside for "claims accepted and confirmed". It speaks as much of the contract as claiming
takes: `connect` with a token, `claim`, `result`, `order`. The design is the usual one: a Lua script in Redis decides (one for
each client, while stock lasts, idempotency keys, the order into a stream), a task reads the stream and inserts in batches,
and what is confirmed goes over Pub/Sub to the processes that hold the clients' connections. What Dibs does beyond that
(an outcome log to resume from, statistics, watchers, rooms, repair) it leaves out.

    uvicorn app:app --loop uvloop --http httptools --ws websockets-sansio     REDIS_URL, DATABASE_URL, DIBS_JWT_SECRET
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import jwt
import orjson
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from redis import asyncio as redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

SECRET = os.environ["DIBS_JWT_SECRET"]
STREAM, GROUP, CONFIRMED = "orders", "committers", "confirmed"
BATCH = 500
CONNECTIONS = 64

# KEYS 1 stock, 2 clients, 3 keys, 4 stream; ARGV 1 sale, 2 client, 3 key
GATE = """
local before = redis.call('HGET', KEYS[3], ARGV[2] .. ' ' .. ARGV[3])
if before then return {'accepted', tonumber(before), -1} end
local left = tonumber(redis.call('HGET', KEYS[1], 'left') or 0)
if left <= 0 then return {'sold_out', 0, 0} end
if redis.call('SADD', KEYS[2], ARGV[2]) == 0 then return {'duplicate', 0, left} end
left = redis.call('HINCRBY', KEYS[1], 'left', -1)
local ticket = redis.call('HINCRBY', KEYS[1], 'sold', 1)
redis.call('HSET', KEYS[3], ARGV[2] .. ' ' .. ARGV[3], ticket)
redis.call('XADD', KEYS[4], '*', 'sale', ARGV[1], 'client', ARGV[2], 'ticket', ticket)
return {'accepted', ticket, left}
"""

TABLES = """
create table if not exists sales (
    id bigint generated always as identity primary key,
    name text not null,
    quantity bigint not null check (quantity > 0)
);
create table if not exists orders (
    sale_id bigint not null references sales,
    ticket bigint not null,
    client_id text not null,
    confirmed_at timestamptz not null default now(),
    primary key (sale_id, ticket),
    unique (sale_id, client_id)
);
"""

INSERT = """
insert into orders (sale_id, ticket, client_id)
select * from unnest($1::bigint[], $2::bigint[], $3::text[])
on conflict do nothing
"""


class State:
    """What a worker process has."""

    cache: redis.Redis
    database: asyncpg.Pool
    gate: AsyncScript
    turns: asyncio.Semaphore
    connections: defaultdict[str, set[WebSocket]]


state = State()


async def commit() -> None:
    """Takes orders from the stream into the database, a batch in a transaction, and says which are confirmed."""
    consumer = f"{os.getpid()}"
    while True:
        answer = await state.cache.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=BATCH, block=1000)
        if not answer:
            continue
        entries = answer[STREAM][0] if isinstance(answer, dict) else answer[0][1]
        orders = [(int(o["sale"]), int(o["ticket"]), o["client"]) for _, o in entries]
        sales, tickets, clients = zip(*orders)
        await state.database.execute(INSERT, sales, tickets, clients)
        async with state.cache.pipeline(transaction=False) as pipeline:
            names = [name for name, _ in entries]
            pipeline.xack(STREAM, GROUP, *names)
            pipeline.xdel(STREAM, *names)
            pipeline.publish(CONFIRMED, orjson.dumps(orders))
            await pipeline.execute()


async def tell() -> None:
    """Tells the clients that are connected here what was confirmed."""
    async with state.cache.pubsub() as subscription:
        await subscription.subscribe(CONFIRMED)
        async for message in subscription.listen():
            if message["type"] != "message":
                continue
            for sale, ticket, client in orjson.loads(message["data"]):
                for connection in tuple(state.connections.get(client, ())):
                    order = {"type": "order", "sale": sale, "order": f"{sale}-{ticket}", "status": "confirmed"}
                    with suppress(WebSocketDisconnect, RuntimeError):
                        await connection.send_text(orjson.dumps(order).decode())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    state.cache = redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_connect_timeout=60)
    # Claims wait for a turn rather than open thousands of connections; what commits and tells never waits for them.
    state.turns = asyncio.Semaphore(CONNECTIONS)
    state.gate = state.cache.register_script(GATE)
    state.connections = defaultdict(set)
    state.database = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=4)
    async with state.database.acquire() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(1)")
        await connection.execute(TABLES)
    with suppress(ResponseError):
        await state.cache.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    tasks = [asyncio.create_task(commit()), asyncio.create_task(tell())]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await state.database.close()
    await state.cache.aclose()


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"result": "ready"}


@app.post("/api/sales", status_code=201)
async def register(request: Request) -> dict[str, dict[str, int]]:
    sale = orjson.loads(await request.body())
    identifier = await state.database.fetchval(
        "insert into sales (name, quantity) values ($1, $2) returning id", sale["name"], sale["quantity"]
    )
    await state.cache.hset(f"sale:{identifier}", mapping={"left": sale["quantity"], "sold": 0})
    return {"result": {"id": identifier}}


async def claim(client: str, message: dict) -> dict:
    sale = message["sale"]
    async with state.turns:
        outcome, ticket, left = await state.gate(
            keys=[f"sale:{sale}", f"sale:{sale}:clients", f"sale:{sale}:keys", STREAM],
            args=[sale, client, message.get("key", "")],
        )
    answer = {"type": "result", "id": message.get("id"), "sale": sale, "outcome": outcome}
    if outcome == "accepted":
        answer |= {"ticket": ticket, "order": f"{sale}-{ticket}"}
    if left >= 0:
        answer["remaining"] = left
    return answer


@app.websocket("/ws")
async def websocket(connection: WebSocket) -> None:
    await connection.accept()
    client = None
    try:
        message = orjson.loads(await connection.receive_text())
        try:
            client = jwt.decode(message["token"], SECRET, algorithms=["HS256"])["sub"]
        except jwt.InvalidTokenError:
            await connection.close(4501)
            return
        state.connections[client].add(connection)
        answer = {"type": "connected", "client": client, "epoch": "0", "offset": 0, "recovered": False}
        await connection.send_text(orjson.dumps(answer).decode())
        while True:
            message = orjson.loads(await connection.receive_text())
            match message.get("type"):
                case "claim":
                    answer = await claim(client, message)
                case "ping":
                    answer = {"type": "pong", "id": message.get("id")}
                case _:
                    answer = {"type": "error", "id": message.get("id"), "code": "bad_request", "message": "unknown"}
            await connection.send_text(orjson.dumps(answer).decode())
    except WebSocketDisconnect:
        pass
    finally:
        if client is not None:
            state.connections[client].discard(connection)
            if not state.connections[client]:
                del state.connections[client]
