#!/usr/bin/env python3
"""Reads the report of Autobahn's suite, and compares it with what is known not to be OK.

    autobahn.py REPORTS EXPECTED

Prints how many cases of each group ended how. The exit code is 1 when a case ended worse than expected, and 2 when not
all of the suite was run. EXPECTED has a line for each case, or pattern of cases: its name, how it may end at worst, how
its closing may, and why.
"""

import collections
import fnmatch
import json
import pathlib
import sys

# From good to bad.
RANKS = ["OK", "INFORMATIONAL", "NON-STRICT", "FAILED BY CLIENT", "UNCLEAN", "WRONG CODE", "FAILED"]
# Without compression, by suite 25.10.1.
CASES = 301


def rank(word):
    return RANKS.index(word) if word in RANKS else len(RANKS)


def expectations(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, behavior, closing, _ = line.split("|", 3)
            yield name.strip(), behavior.strip(), closing.strip()


def main():
    reports, expected = map(pathlib.Path, sys.argv[1:3])
    found = json.loads((reports / "index.json").read_text(encoding="utf-8"))["dibs"]
    known = list(expectations(expected))
    groups = collections.defaultdict(collections.Counter)
    worse = []
    used = set()
    for case, result in sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        ended = result["behavior"], result["behaviorClose"]
        groups[case.split(".")[0]][ended] += 1
        if max(map(rank, ended)) <= rank("INFORMATIONAL"):
            continue
        # The worst of what any line allows.
        lines = [line for line in known if fnmatch.fnmatchcase(case, line[0])]
        used.update(line for line in lines)
        if not any(rank(ended[0]) <= rank(line[1]) and rank(ended[1]) <= rank(line[2]) for line in lines):
            worse.append(f"{case}: {ended[0]}, closing {ended[1]}: {result.get('description', '')[:100]}".strip(": "))
    for group, counts in groups.items():
        parts = (f"{count} × {' / '.join(dict.fromkeys(ended))}" for ended, count in counts.most_common())
        print(f"{group:>3}.*  {', '.join(parts)}")
    for name in (line[0] for line in known if line not in used):
        print(f"better than expected: {name}")
    for line in worse:
        print(f"WORSE than expected: {line}")
    print(f"{len(found)} cases, {len(worse)} worse than expected")
    if len(found) < CASES:
        print(f"not all of the suite's {CASES} cases were run")
        return 2
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
