#!/usr/bin/env python3
"""Recomputes the order of a `random` room from its published seed. docs/draw.md explains it.

    draw.py https://tickets.example lots ids.txt       (client ids, one a line, in any order)
    DIBS_ADMIN_KEY=… draw.py https://tickets.example lots       (asks for those who took part, and compares)

Prints the clients in the order drawn. The exit code is 1 when the seed or the order is not what was published.
"""
import hashlib, json, os, sys, urllib.request

base, room, *files = sys.argv[1:]
ask = lambda path, **headers: json.load(urllib.request.urlopen(
    urllib.request.Request(f"{base}/api/rooms/{room}/draw{path}", headers=headers)))["result"]
sha256 = lambda text: hashlib.sha256(text.encode()).hexdigest()

draw, published = ask(""), []
if draw["seed"] is None:
    sys.exit("lots were not drawn yet")
if sha256(draw["seed"]) != draw["seedSha256"]:
    sys.exit("the seed is not the one whose hash was published")
while not files:
    after = published[-1]["position"] if published else 0
    page = ask(f"/entries?limit=10000&after={after}", Authorization=f"Bearer {os.environ['DIBS_ADMIN_KEY']}")
    published += page
    if not page:
        break
clients = open(files[0]).read().split() if files else [entry["userId"] for entry in published]
order = sorted(clients, key=lambda client: (sha256(f"{draw['seed']}:{client}"), client))
print(*order, sep="\n")
if not files and order != clients:
    sys.exit("the order is not the one that the seed gives")
