#!/usr/bin/env python3
"""The rules of RFC 6455, one case each, against an echo on our gateway and against a server's own /ws.

    ECHO_URL=ws://127.0.0.1:8081/ws DIBS_URL=http://127.0.0.1:8080 rfc6455.py [part of a case's name …]

What is sent is made byte by byte; what comes back is read by the PyPI package `websockets`, which is strict. The exit
code is 1 when a case ends otherwise than it has to.
"""

import os
import socket
import struct
import sys
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Close, Opcode
from websockets.uri import parse_uri

PATIENCE = 10
MASK = b"\x12\x34\x56\x78"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, form=None, mask=MASK, announced=None):
    """A frame, also one that must not be. `form` is 7, 16 or 64 bits of length; the shortest when None."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if announced is None else announced
    form = form or (7 if length < 126 else 16 if length < 1 << 16 else 64)
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    head += {
        7: lambda: bytes([bit | length]),
        16: lambda: bytes([bit | 126]) + struct.pack("!H", length),
        64: lambda: bytes([bit | 127]) + struct.pack("!Q", length),
    }[form]()
    if masked:
        head += mask
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return head + payload


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def text(words):
    return ("text", words)


def pong(payload=b""):
    return ("pong", payload)


def closed(*codes):
    """A close frame with one of these codes; None: without any."""
    return ("close", codes)


# The connection ends.
END = ("end",)
FLOOD = "x" * 70_000

# (name, what is sent, what has to come back)
ECHOES = [
    # 5.2: lengths, masks
    *(
        (f"5.2 a text of {size} bytes", [frame(TEXT, "x" * size)], [text("x" * size)])
        for size in (0, 1, 125, 126, 127, 65535, 65536, 1 << 20)
    ),
    ("5.2 a length of 16 bits that would go into 7", [frame(TEXT, "short", form=16)], [text("short")]),
    ("5.2 a length of 64 bits that would go into 7", [frame(TEXT, "short", form=64)], [text("short")]),
    ("5.3 a mask of zeros", [frame(TEXT, "bare", mask=bytes(4))], [text("bare")]),
    ("5.3 a new mask in each frame", [frame(TEXT, "a", mask=b"abcd"), frame(TEXT, "b", mask=b"\xff\0\xff\0")],
     [text("a"), text("b")]),
    # It would have to be refused, but the library takes it, and doesn't say (docs/conformance.md).
    ("5.1 no mask", [frame(TEXT, "bare", masked=False)], [text("bare")]),
    ("5.2 a byte at a time", [bytes([byte]) for byte in frame(TEXT, "slowly")], [text("slowly")]),
    ("5.2 many frames in one segment", [b"".join(frame(TEXT, str(n)) for n in range(50))], [text(str(n)) for n in range(50)]),
    # 5.4: fragments
    ("5.4 two fragments", [frame(TEXT, "one ", fin=False), frame(CONTINUATION, "two")], [text("one two")]),
    ("5.4 empty fragments", [frame(TEXT, "", fin=False), frame(CONTINUATION, "", fin=False), frame(CONTINUATION, "end")],
     [text("end")]),
    ("5.4 only empty fragments", [frame(TEXT, "", fin=False), frame(CONTINUATION, "")], [text("")]),
    ("5.4 a hundred fragments", [frame(TEXT, "a", fin=False), *[frame(CONTINUATION, "b", fin=False)] * 98, frame(CONTINUATION, "c")],
     [text("a" + "b" * 98 + "c")]),
    ("5.4 a large fragment", [frame(TEXT, FLOOD, fin=False), frame(CONTINUATION, FLOOD)], [text(FLOOD * 2)]),
    ("5.4 two messages in fragments", [frame(TEXT, "1", fin=False) + frame(CONTINUATION, "2"), frame(TEXT, "3", fin=False) + frame(CONTINUATION, "4")],
     [text("12"), text("34")]),
    ("5.5 a ping between fragments", [frame(TEXT, "a", fin=False), frame(PING, "now"), ("await", 1), frame(CONTINUATION, "b")],
     [pong(b"now"), text("ab")]),
    # 5.5: control frames
    ("5.5.2 a ping without payload", [frame(PING)], [pong()]),
    ("5.5.2 a ping of 125 bytes", [frame(PING, b"p" * 125)], [pong(b"p" * 125)]),
    ("5.5.2 a ping of no text", [frame(PING, bytes(range(125)))], [pong(bytes(range(125)))]),
    ("5.5.3 an unasked pong is ignored", [frame(PONG, "why"), frame(TEXT, "on")], [text("on")]),
    # 5.6 and 8.1: UTF-8
    ("5.6 characters of two to four bytes", [frame(TEXT, "aé한😀")], [text("aé한😀")]),
    ("8.1 a character cut between fragments", [frame(TEXT, "é".encode()[:1], fin=False), frame(CONTINUATION, "é".encode()[1:])], [text("é")]),
    ("8.1 the last code point", [frame(TEXT, "\U0010ffff")], [text("\U0010ffff")]),
    ("8.1 NUL and noncharacters", [frame(TEXT, "\0\ufffe")], [text("\0\ufffe")]),
]

# The same against the echo and against /ws.
ENDINGS = [
    # 7: closing
    ("7.1 without a code", [close()], [closed(None), END]),
    *((f"7.4 with {code}", [close(code)], [closed(code), END]) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)),
    *((f"7.4 with {code}, which nobody may send", [close(code)], [closed(1002), END])
      for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999)),
    ("7.1.6 with a reason", [close(1000, b"enough")], [closed(1000), END]),
    ("7.1.6 with the longest reason", [close(1000, b"r" * 123)], [closed(1000), END]),
    ("7.1.6 with a reason that is no UTF-8", [close(1000, b"\xff")], [END]),
    ("5.5.1 half a code", [frame(CLOSE, b"\x03")], [closed(1002), END]),
    ("5.5.1 nothing is heard after a close frame", [close(1000) + frame(PING, "late")], [closed(1000), END]),
    ("5.5 a close frame of 126 bytes", [frame(CLOSE, struct.pack("!H", 1000) + b"r" * 124)], [END]),
    # 5.2: bits and opcodes
    *((f"5.2 reserved bits {rsv}", [frame(TEXT, "x", rsv=rsv)], [closed(1002)]) for rsv in range(1, 8)),
    *((f"5.2 the opcode {opcode}", [frame(opcode, "x")], [closed(1002)]) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    # 5.4
    ("5.4 a continuation of nothing", [frame(CONTINUATION, "x")], [closed(1002)]),
    ("5.4 a message within another", [frame(TEXT, "a", fin=False), frame(TEXT, "b")], [closed(1002)]),
    ("5.4 a continuation after the end", [frame(PING) + frame(CONTINUATION, "b")], [closed(1002)]),
    # 5.5
    ("5.5 a ping in fragments", [frame(PING, "a", fin=False)], [closed(1002)]),
    ("5.5 a close frame in fragments", [frame(CLOSE, b"", fin=False)], [closed(1002)]),
    ("5.5 a ping of 126 bytes", [frame(PING, b"p" * 126)], [END]),
    ("5.2 a length with its highest bit", [frame(TEXT, b"", form=64, announced=1 << 63)], [END]),
    # What is ours: texts only, of a bounded size
    ("ours: a binary message", [frame(BINARY, b"\x01\x02")], [closed(4503), END]),
    ("7.4.1 a message announced as too large", [frame(TEXT, b"x", form=64, announced=1 << 40)], [closed(1009)]),
    # 8.1
    *((f"8.1 {name}", [frame(TEXT, payload)], [closed(1007)]) for name, payload in {
        "a lone byte": b"\xff", "a lone continuation": b"\x80", "an overlong slash": b"\xc0\xaf", "an overlong NUL": b"\xe0\x80\x80",
        "a surrogate": b"\xed\xa0\x80", "beyond the last code point": b"\xf4\x90\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80",
        "cut at the end": b"abc\xe2\x82", "in the midst": b"abc\xffdef"}.items()),
    ("8.1 wrong over fragments", [frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"a")], [closed(1007)]),
]


def request(lines=(), start="GET /ws HTTP/1.1", without=()):
    headers = {
        "Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13", **dict(lines),
    }
    kept = [f"{name}: {value}" for name, value in headers.items() if name not in without]
    return "\r\n".join([start, *kept, "", ""]).encode()


# (name, the request, the status, headers of the answer; None: not there)
HANDSHAKES = [
    ("4.2.2 as it should be", request(), 101, {"sec-websocket-accept": ACCEPT, "upgrade": "websocket", "connection": "upgrade"}),
    ("4.2.1 words in another case", request({"Upgrade": "WebSocket", "Connection": "UPGRADE"}), 101, {}),
    ("4.2.1 Upgrade among other options", request({"Connection": "keep-alive, Upgrade"}), 101, {}),
    ("4.2.1 names in another case", request().replace(b"Sec-WebSocket-Key", b"SEC-WEBSOCKET-KEY"), 101, {"sec-websocket-accept": ACCEPT}),
    ("4.2.2 an extension is not taken", request({"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}), 101,
     {"sec-websocket-extensions": None}),
    ("4.2.2 our subprotocol", request({"Sec-WebSocket-Protocol": "chat, dibs"}), 101, {"sec-websocket-protocol": "dibs"}),
    ("4.2.2 no subprotocol asked, none given", request(), 101, {"sec-websocket-protocol": None}),
    ("ours: another subprotocol only", request({"Sec-WebSocket-Protocol": "chat"}), 400, {}),
    ("4.4 a later version", request({"Sec-WebSocket-Version": "14"}), 426, {"sec-websocket-version": "13"}),
    ("4.4 an earlier version", request({"Sec-WebSocket-Version": "8"}), 426, {"sec-websocket-version": "13"}),
    ("4.2.1 no version", request(without=["Sec-WebSocket-Version"]), 426, {"sec-websocket-version": "13"}),
    ("4.2.1 no key", request(without=["Sec-WebSocket-Key"]), 400, {}),
    ("4.2.1 a key too short", request({"Sec-WebSocket-Key": "c2hvcnQ="}), 400, {}),
    ("4.2.1 no Host", request(without=["Host"]), 400, {}),
    ("4.2.1 no Connection", request(without=["Connection"]), 400, {}),
    ("4.2.1 another path", request(start="GET /elsewhere HTTP/1.1"), 404, {}),
    ("4.2.1 POST", request({"Content-Length": "0"}, start="POST /ws HTTP/1.1"), 400, {}),
    ("4.2.1 HTTP/1.0", request(start="GET /ws HTTP/1.0"), 400, {}),
]


class Connection:
    """A WebSocket whose frames out are anybody's, and whose frames in are checked."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        self.protocol = ClientProtocol(parse_uri(url), max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.events = []
        self.ended = False
        # The answer to the handshake, which the protocol has checked.
        self.read_until(1)
        if self.protocol.handshake_exc:
            raise self.protocol.handshake_exc
        self.events.pop(0)

    def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.send(data)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.ended = True

    def read_until(self, count):
        """Reads until there are so many events, or the end."""
        while len(self.events) < count and not self.ended:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return
            except OSError:
                data = b""
            if data:
                self.protocol.receive_data(data)
            else:
                self.ended = True
                self.protocol.receive_eof()
            self.events += self.protocol.events_received()
            if self.protocol.parser_exc and not self.ended:
                self.events.append(self.protocol.parser_exc)
                return

    def next(self):
        self.read_until(1)
        if not self.events:
            return END if self.ended else ("nothing",)
        event = self.events.pop(0)
        if isinstance(event, Exception):
            return ("broken", repr(event))
        if event.opcode is Opcode.CLOSE:
            # Ours back, so that it may hang up.
            self.flush()
            return ("close", Close.parse(event.data).code if event.data else None)
        kind = {Opcode.TEXT: "text", Opcode.PONG: "pong"}.get(event.opcode, str(event.opcode))
        payload = bytes(event.data)
        return (kind, payload.decode() if kind == "text" else payload)


def is_as_wanted(wanted, got):
    return got[0] == "close" and got[1] in wanted[1] if wanted[0] == "close" else got == wanted


def shown(event):
    return repr(event) if len(repr(event)) < 100 else repr(event)[:100] + "…"


def wrong_with_frames(url, sent, wanted):
    connection = Connection(url)
    with connection.socket:
        # Each in a segment of its own.
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in sent:
            if isinstance(data, tuple):
                connection.read_until(data[1])
            else:
                connection.send(data)
        for event in wanted:
            got = connection.next()
            if not is_as_wanted(event, got):
                return f"{shown(got)} instead of {shown(event)}"
    return None


def wrong_with_handshake(url, sent, status, headers):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    lines = answer.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    if lines[0].split(" ")[1:2] != [str(status)]:
        return f"{lines[0]!r} instead of {status}"
    got = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    for name, value in headers.items():
        found = got.get(name)
        # The accept is in base 64, the others are words in any case.
        if found != value if name == "sec-websocket-accept" or found is None or value is None else found.lower() != value:
            return f"{name} is {found!r} instead of {value!r}"
    return None


def main():
    echo = os.environ["ECHO_URL"]
    dibs = os.environ["DIBS_URL"].replace("http", "ws", 1) + "/ws"
    cases = [(f"echo: {name}", wrong_with_frames, (echo, *rest)) for name, *rest in ECHOES + ENDINGS]
    cases += [(f"dibs: {name}", wrong_with_frames, (dibs, *rest)) for name, *rest in ENDINGS]
    cases += [(f"echo: {name}", wrong_with_handshake, (echo, *rest)) for name, *rest in HANDSHAKES]
    cases += [(f"dibs: {name}", wrong_with_handshake, (dibs, *rest)) for name, *rest in HANDSHAKES]
    chosen = [case for case in cases if not sys.argv[1:] or any(part in case[0] for part in sys.argv[1:])]
    failed = 0
    for name, check, arguments in chosen:
        try:
            trouble = check(*arguments)
        except Exception as error:  # noqa: BLE001 whatever it is, the case has failed
            trouble = repr(error)
        if trouble:
            failed += 1
            print(f"{name}: {trouble}", file=sys.stderr)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
