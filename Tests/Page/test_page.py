"""Runs the browser tests, and says at the end how many passed and how many failed."""

import sys

import buyer_tests  # noqa: F401 (importing a module registers its tests)
import concert_tests  # noqa: F401
import library_tests  # noqa: F401
import line_tests  # noqa: F401
import operator_tests  # noqa: F401
import presentation_tests  # noqa: F401
import seat_tests  # noqa: F401
from harness import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
