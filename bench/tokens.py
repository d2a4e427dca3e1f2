#!/usr/bin/env python3
"""Prints client tokens, one a line: JWTs by HS256 with DIBS_JWT_SECRET, good for a day.

    tokens.py PREFIX COUNT
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def main() -> None:
    prefix, count = sys.argv[1], int(sys.argv[2])
    secret = os.environ["DIBS_JWT_SECRET"].encode()
    head = encoded(b'{"alg":"HS256","typ":"JWT"}')
    expires = int(time.time()) + 86400
    for index in range(count):
        claims = json.dumps({"sub": f"{prefix}{index}", "exp": expires}, separators=(",", ":"))
        signed = head + b"." + encoded(claims.encode())
        signature = hmac.digest(secret, signed, hashlib.sha256)
        print((signed + b"." + encoded(signature)).decode())


if __name__ == "__main__":
    main()
