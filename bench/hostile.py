#!/usr/bin/env python3
"""How well-behaved clients fare beside hostile ones. Started by scripts/hostile.sh, which starts the server.

A process with well-behaved clients runs all the time: each has a WebSocket, and in turn pings and claims at a steady
rate. Beside it each kind of hostile client does its worst, in a process and from an address of its own. Windows without
and with the attack take turns, and the medians of their 99th percentiles are compared. Only Python's own library is
used.
"""
import argparse
import base64
import ctypes
import hashlib
import hmac
import json
import os
import random
import selectors
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
import urllib.request

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def token(client, good=True):
    """A client's token, as a shop's backend signs it; or one with a wrong signature."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(
        json.dumps({"sub": client, "exp": int(time.time()) + 86400}).encode())
    secret = os.environ["DIBS_JWT_SECRET"].encode() if good else b"another secret"
    return (text + b"." + part(hmac.new(secret, text, hashlib.sha256).digest())).decode()


def frame(payload, opcode=1, final=True):
    """A frame as a client sends it, masked with zeros."""
    if isinstance(payload, str):
        payload = payload.encode()
    head = bytes([(0x80 if final else 0) | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        head += b"\xfe" + struct.pack("!H", len(payload))
    else:
        head += b"\xff" + struct.pack("!Q", len(payload))
    return head + b"\0\0\0\0" + payload


def say(**message):
    return frame(json.dumps(message, separators=(",", ":")))


# --- Well-behaved clients -------------------------------------------------------------------------------------------

class Good:
    """One client. It has at most one question open, and knows when that was asked."""

    def __init__(self, number, address, sales):
        self.name = f"good-{number}"
        self.sales = sales
        self.number = number
        self.asked = None
        self.count = 0
        self.buffer = bytearray()
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE)
        while b"\r\n\r\n" not in self.buffer:
            self.read()
        assert self.buffer.startswith(b"HTTP/1.1 101"), bytes(self.buffer)
        del self.buffer[:self.buffer.index(b"\r\n\r\n") + 4]
        self.socket.sendall(say(type="connect", token=token(self.name), id=0))
        while not any(message.get("type") == "connected" for message in self.messages()):
            self.read()
        self.socket.setblocking(False)

    def read(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise SystemExit(f"{self.name} lost its connection: {bytes(self.buffer)}")
        self.buffer += piece

    def messages(self):
        while len(self.buffer) >= 2:
            opcode, length, start = self.buffer[0] & 15, self.buffer[1] & 127, 2
            if length == 126:
                if len(self.buffer) < 4:
                    return
                length, start = struct.unpack("!H", self.buffer[2:4])[0], 4
            if len(self.buffer) < start + length:
                return
            payload = bytes(self.buffer[start:start + length])
            del self.buffer[:start + length]
            if opcode == 9:
                self.socket.sendall(frame(payload, 10))
            elif opcode == 8:
                raise SystemExit(f"{self.name} was sent away: {payload[2:]} {payload[:2].hex()}")
            elif opcode == 1:
                yield json.loads(payload)

    def ask(self):
        self.count += 1
        if (self.count + self.number) % 2:
            message = say(type="ping", id=self.count)
        else:
            sale = self.sales[self.count % len(self.sales)]
            message = say(type="claim", sale=sale, key=f"k{self.count}", id=self.count)
        self.asked = time.perf_counter()
        self.socket.sendall(message)

    def heard(self):
        """The time to the answer, if it has come."""
        self.read()
        for message in self.messages():
            if message.get("id") == self.count and self.asked is not None:
                # That Redis didn't answer in time, on a machine that is overloaded, counts by the time it took.
                if message["type"] not in ("pong", "result") or message.get("outcome") not in (None, "accepted"):
                    if message.get("code") != "unavailable":
                        raise SystemExit(f"{self.name}: {message}")
                time_taken, self.asked = time.perf_counter() - self.asked, None
                return time_taken
        return None


def good(arguments):
    address = (arguments.host, arguments.port)
    sales = [int(sale) for sale in arguments.sales.split(",")]
    clients = [Good(number, address, sales) for number in range(arguments.clients)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    os.set_blocking(0, False)
    selector.register(0, selectors.EVENT_READ, None)
    print("ready", flush=True)
    pause, next_ask, turn = 1 / arguments.rate, time.perf_counter(), 0
    times, window_end, late = [], None, 0
    while True:
        now = time.perf_counter()
        while next_ask <= now:
            client = clients[turn % len(clients)]
            turn += 1
            next_ask += pause
            # Who still waits would not ask again; that it waits is counted when the answer is there.
            if client.asked is None:
                client.ask()
            else:
                late += 1
        if window_end and now >= window_end:
            times += [now - client.asked for client in clients if client.asked and now - client.asked > 0.5]
            print(json.dumps({"times": times, "late": late}), flush=True)
            window_end = None
        for key, _ in selector.select(max(0, min(next_ask - time.perf_counter(), 0.05))):
            if key.data is None:
                line = os.read(0, 100)
                if not line:
                    return
                times, late, window_end = [], 0, time.perf_counter() + float(line)
                continue
            taken = key.data.heard()
            if taken is not None and window_end:
                times.append(taken)


# --- Hostile clients ------------------------------------------------------------------------------------------------

class Attack:
    """Sockets from an address of its own, as many as `width`, each made anew when it ends."""

    width = 200
    reads = True
    talks = False
    # For a moment before a socket that was cut is made anew: nothing for the most part.
    pause = 0.0

    def __init__(self, host, port, source):
        self.host, self.port, self.source = host, port, source
        self.selector = selectors.DefaultSelector()
        self.open = 0
        self.made = 0

    def connect(self):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.setblocking(False)
        try:
            made.bind((self.source, 0))
            made.connect_ex((self.host, self.port))
        except OSError:
            made.close()
            return
        self.open += 1
        self.made += 1
        # What is sent on a WebSocket has to wait for the handshake's answer (RFC 6455, 4.1).
        state = {"out": self.first(), "place": 0, "next": 0.0, "number": self.made, "waits": self.talks}
        self.selector.register(made, selectors.EVENT_READ | selectors.EVENT_WRITE, state)

    def end(self, made):
        self.selector.unregister(made)
        made.close()
        self.open -= 1

    def first(self):
        """What a new socket sends."""
        return b""

    def more(self, state):
        """What it sends when that is out: None to wait, False to end."""
        return None

    def run(self):
        while True:
            for _ in range(min(100, self.width - self.open)):
                self.connect()
            if self.pause:
                time.sleep(self.pause)
            for key, events in self.selector.select(0.01):
                made, state = key.fileobj, key.data
                try:
                    if events & selectors.EVENT_READ:
                        self.read(made, state)
                    if events & selectors.EVENT_WRITE and made.fileno() >= 0:
                        self.write(key, made, state)
                except BlockingIOError:
                    pass
                except OSError:
                    self.end(made)
            self.tick()

    def read(self, made, state):
        if not made.recv(65536):
            raise ConnectionError
        if state["waits"] or not self.reads:
            state["waits"] = False
            self.selector.modify(made, selectors.EVENT_READ * self.reads | selectors.EVENT_WRITE, state)

    def write(self, key, made, state):
        if state["place"] == len(state["out"]):
            out = None if state["waits"] else self.more(state)
            if out is False:
                return self.end(made)
            if out is None:
                self.selector.modify(made, selectors.EVENT_READ, state)
                return
            state["out"], state["place"] = out, 0
        state["place"] += made.send(memoryview(state["out"])[state["place"]:state["place"] + 65536])

    def tick(self):
        pass


class ConnectionFlood(Attack):
    """connects and hangs up, as fast as it can"""
    def more(self, state):
        return False


class HandshakeFlood(Attack):
    """opens WebSockets and hangs up, as fast as it can"""
    def first(self):
        return HANDSHAKE

    def read(self, made, state):
        made.recv(4096)
        self.end(made)


class Hoard(Attack):
    """opens 15,000 connections and says nothing"""
    width = 15000


class Slowloris(Attack):
    """3,000 requests of which a byte comes each second"""
    width = 3000

    def first(self):
        return b"GET / HTTP/1.1\r\nHost: x\r\nX-"

    def tick(self):
        now = time.monotonic()
        for key in list(self.selector.get_map().values()):
            if now >= key.data["next"]:
                key.data["next"] = now + 1
                try:
                    key.fileobj.send(b"a")
                except BlockingIOError:
                    pass
                except OSError:
                    self.end(key.fileobj)


class SlowBodies(Slowloris):
    """3,000 bodies of which a byte comes each second"""
    def first(self):
        return b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"


class MessageFlood(Attack):
    """50 clients with 4 WebSockets each ping as fast as they can"""
    width = 200
    talks = True
    texts = b"".join(say(type="ping", id=n) for n in range(2000))

    def first(self):
        return HANDSHAKE

    def begin(self, state):
        return say(type="connect", token=token(f"flood-{state['number'] % 50}"))

    def more(self, state):
        if not state["next"]:
            state["next"] = 1
            return self.begin(state) + self.texts
        return self.texts


class PingFlood(MessageFlood):
    """200 WebSockets send ping frames as fast as they can"""
    texts = frame(b"x" * 100, 9) * 600

    def begin(self, state):
        return b""


class ClaimFlood(MessageFlood):
    """50 clients with 4 WebSockets each claim as fast as they can"""
    def __init__(self, *arguments):
        super().__init__(*arguments)
        sale = int(os.environ["HOSTILE_SALE"])
        self.texts = b"".join(say(type="claim", sale=sale, key=f"k{n}", id=n) for n in range(2000))


class Torture(MessageFlood):
    """200 WebSockets send the deepest and longest messages that are taken, as fast as they can"""
    texts = (frame('{"type":"ping","x":' + "[" * 30 + ",".join(['"\\u0041"'] * 1700) + "]" * 30 + "}")
             + frame("[" * 16000) + frame('{"a":' * 3000)) * 20

    def begin(self, state):
        return b""


class Fragments(MessageFlood):
    """200 WebSockets send messages in fragments of a byte"""
    texts = frame("{", 1, False) + frame(" ", 0, False) * 8000

    def begin(self, state):
        return b""


class SlowReaders(MessageFlood):
    """500 WebSockets ask, and never read the answers"""
    width = 500
    reads = False
    texts = b"".join(say(type="ping", id="x" * 110 + str(n)) for n in range(400))


class BadTokens(Attack):
    """forged tokens, a connection for each, as fast as it can"""
    def first(self):
        return HANDSHAKE + say(type="connect", token=token(f"x{self.made}", good=False))


class Reconnects(Attack):
    """a client with a good token connects over and over"""
    def first(self):
        return HANDSHAKE + say(type="connect", token=token(f"again-{self.made % 3}"))

    def more(self, state):
        state["next"] = state["next"] or time.monotonic() + 0.2
        return None if time.monotonic() < state["next"] else False


class Passwords(Attack):
    """log-ins as fast as it can"""
    width = 100

    def first(self):
        body = json.dumps({"name": f"n{self.made}", "password": "does not matter"}).encode()
        head = b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body


class RequestFlood(Attack):
    """requests without a pause on 50 connections, many at once on each"""
    width = 50
    texts = (b"GET /api/sales HTTP/1.1\r\nHost: x\r\n\r\nGET /api/nothing HTTP/1.1\r\nHost: x\r\n\r\n"
             b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n") * 200

    def more(self, state):
        return self.texts


class HeaderFlood(Attack):
    """requests with 8 KB and with endless headers"""
    def first(self):
        if self.made % 2:
            return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000))
        return (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"z" * 7900 + b"\r\n\r\n") * 20


class Noise(Attack):
    """bytes by chance, on connections and on WebSockets"""
    def first(self):
        return (HANDSHAKE if self.made % 2 else b"") + random.randbytes(20000)

    def more(self, state):
        return random.randbytes(20000)


class TLSHandshakes(Attack):
    """begins TLS and doesn't go on, as fast as it can"""
    def __init__(self, *arguments):
        super().__init__(*arguments)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="x")
        try:
            hello.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.hello = outgoing.read()

    def first(self):
        return self.hello

    def more(self, state):
        return None


class Nothing(Attack):
    """sends nothing, and counts as fast as it can: in the windows without an attack the machine is as busy"""
    def run(self):
        while True:
            self.made += 1


ATTACKS = [
    ConnectionFlood, HandshakeFlood, Hoard, Slowloris, SlowBodies, MessageFlood, PingFlood, ClaimFlood, Torture,
    Fragments, SlowReaders, BadTokens, Reconnects, Passwords, RequestFlood, HeaderFlood, Noise,
]


def attack(arguments):
    kind = next(kind for kind in ATTACKS + [Nothing, TLSHandshakes] if kind.__name__ == arguments.kind)
    kind(arguments.host, arguments.port, arguments.source).run()


# --- The comparison -------------------------------------------------------------------------------------------------

def percentile(times, part):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else float("inf")


def resident(process):
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def processor(process):
    """Seconds of a core that a process has used, and for which it has waited."""
    with open(f"/proc/{process}/schedstat") as file:
        used, waited = file.read().split()[:2]
    return int(used) / 1e9, int(waited) / 1e9


def register(host, port, most_each):
    now = time.time()
    moment = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds))
    body = json.dumps({"name": "x", "quantity": 1_000_000, "perClientLimit": most_each, "opensAt": moment(-60),
                       "closesAt": moment(86400)}).encode()
    request = urllib.request.Request(
        f"http://{host}:{port}/api/sales", body,
        {"Authorization": "Bearer " + os.environ["DIBS_ADMIN_KEY"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]["id"]


def run(arguments):
    program = [sys.executable, os.path.abspath(__file__)]
    where = ["--host", arguments.host, "--port", str(arguments.port)]
    sales = ",".join(str(register(arguments.host, arguments.port, 1000)) for _ in range(4))
    os.environ["HOSTILE_SALE"] = str(register(arguments.host, arguments.port, 10))
    clients = subprocess.Popen(
        program + ["good"] + where + ["--sales", sales, "--clients", str(arguments.clients), "--rate",
                                      str(arguments.rate)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert clients.stdout.readline() == "ready\n", "the well-behaved clients did not get in"

    def window():
        began, used = time.monotonic(), processor(arguments.pid)
        clients.stdin.write(f"{arguments.seconds}\n")
        clients.stdin.flush()
        line = clients.stdout.readline()
        if not line:
            raise SystemExit("the well-behaved clients have ended: their words are above")
        result = json.loads(line)
        length = time.monotonic() - began
        shares = [100 * (now - before) / length for now, before in zip(processor(arguments.pid), used)]
        return percentile(result["times"], 0.5), percentile(result["times"], 0.99), *shares

    kinds = [kind for kind in ATTACKS if not arguments.only or kind.__name__ in arguments.only.split(",")]
    print("| hostile client | p50, p99 without | p50, p99 beside it | ratio of p99 | "
          "a core used by the server, and waited for: without, beside it | memory |", flush=True)
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    worst = 0

    libc = ctypes.CDLL(None)

    def begin():
        os.nice(arguments.nice)
        # It ends with this process, however that ends (PR_SET_PDEATHSIG of linux/prctl.h).
        libc.prctl(1, signal.SIGKILL)

    def start(kind, source):
        return subprocess.Popen(
            program + ["attack"] + where + ["--kind", kind.__name__, "--source", source], preexec_fn=begin)

    def stop(hostile):
        if hostile.poll() is not None:
            raise SystemExit(f"a hostile client has ended with {hostile.returncode}")
        hostile.send_signal(signal.SIGKILL)
        hostile.wait()
        time.sleep(arguments.settle)

    time.sleep(2)
    for index, kind in enumerate(kinds):
        normal, beside, grown = [], [], 0
        for round_number in range(arguments.rounds):
            idler = start(Nothing, "127.0.0.1")
            time.sleep(arguments.warm)
            normal.append(window())
            stop(idler)
            before = resident(arguments.pid)
            hostile = start(kind, f"127.0.{index + 1}.{round_number + 2}")
            time.sleep(arguments.warm)
            beside.append(window())
            grown = max(grown, resident(arguments.pid) - before)
            stop(hostile)
        p50, p99, core, wait = (statistics.median(each[part] for each in normal) for part in range(4))
        p50_beside, p99_beside, core_beside, wait_beside = (
            statistics.median(each[part] for each in beside) for part in range(4))
        worst = max(worst, p99_beside / p99)
        print(f"| {kind.__name__}: {kind.__doc__} | {p50:.1f}, {p99:.1f} ms | {p50_beside:.1f}, {p99_beside:.1f} ms | "
              f"{p99_beside / p99:.2f} | {core:.0f}, {wait:.0f} %: {core_beside:.0f}, {wait_beside:.0f} % | "
              f"{grown / 2**20:+.1f} MB |", flush=True)
    clients.kill()
    print(f"\nworst ratio: {worst:.2f}")
    return 0 if worst <= arguments.most else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "good", "attack"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, help="the server's process, for its memory")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=float, default=250, help="questions a second of all clients together")
    parser.add_argument("--seconds", type=float, default=4, help="of a window")
    parser.add_argument("--warm", type=float, default=1, help="seconds of an attack before its window")
    parser.add_argument("--settle", type=float, default=1, help="seconds after it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=float, default=1.5, help="the ratio that is good enough")
    parser.add_argument(
        "--nice", type=int, default=19, help="of the hostile process, which would not be on the server's machine")
    parser.add_argument("--only", help="kinds of hostile clients, by comma")
    parser.add_argument("--sales")
    parser.add_argument("--kind")
    parser.add_argument("--source", default="127.0.0.2")
    arguments = parser.parse_args()
    sys.exit({"run": run, "good": good, "attack": attack}[arguments.what](arguments))


if __name__ == "__main__":
    main()
