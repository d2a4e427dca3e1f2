#!/usr/bin/env python3
"""Starts a server so many times, and prints how long each took to be ready: ms from exec to the first 200 of /readyz.

    start.py COUNT LOG COMMAND…      (DIBS_LISTEN says where it listens)
"""

import os
import signal
import socket
import subprocess
import sys
import time

REQUEST = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def is_ready(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(REQUEST)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def main() -> None:
    count, log, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    host, port = os.environ["DIBS_LISTEN"].rsplit(":", 1)
    for _ in range(count):
        with open(log, "ab") as output:
            began = time.monotonic()
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while not is_ready(host, int(port)):
                if server.poll() is not None or time.monotonic() - began > 30:
                    sys.exit("start.py: the server does not get ready")
                time.sleep(0.001)
            print(f"{1000 * (time.monotonic() - began):.1f}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


if __name__ == "__main__":
    main()
