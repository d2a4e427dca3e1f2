#!/usr/bin/env python3
"""Holds recorded WebSocket frames to docs/asyncapi.yaml.

    asyncapi_check.py recording.jsonl …     (`-` or nothing: standard input)
    asyncapi_check.py --examples            (the document's own examples instead)

A recording has a JSON object a line: {"direction": "in" | "out", "frame": {…}}. The directions are the server's, as in
AsyncAPI: `in` is what a client sent, `out` is what the server sent. `frame` may also be the text of a frame. Each frame
is validated against the payload schema of its `type` among the messages of that direction; a type that the document
doesn't have there is a mismatch. The exit code is 1 when a frame doesn't pass, and 2 when nothing could be checked.
"""

import argparse
import json
import pathlib
import sys

import yaml
from jsonschema import Draft202012Validator

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
MOST_SHOWN = 50


def follow(document, node):
    """What a `$ref` within the document stands for."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def messages_by_direction(document):
    """`receive` is `in`, `send` is `out`, and what replies to something received is `out` as well."""
    found = {"in": {}, "out": {}}
    for operation in document["operations"].values():
        received = operation["action"] == "receive"
        lists = [("in" if received else "out", operation["messages"])]
        if "reply" in operation:
            lists.append(("out" if received else "in", operation["reply"]["messages"]))
        for direction, references in lists:
            for reference in references:
                message = follow(document, reference)
                schema = follow(document, message["payload"])
                found[direction][schema["properties"]["type"]["const"]] = message
    return found


def validators_of(document, messages):
    """One validator for each direction and type; references are resolved within the whole document."""
    validators = {}
    for direction, by_type in messages.items():
        for kind, message in by_type.items():
            schema = {"components": document["components"], **message["payload"]}
            Draft202012Validator.check_schema(follow(document, message["payload"]))
            validators[direction, kind] = Draft202012Validator(schema)
    return validators


def wrong_with(validators, direction, frame):
    """What is wrong with one frame, or None."""
    if isinstance(frame, str):
        try:
            frame = json.loads(frame)
        except ValueError as error:
            return f"not JSON: {error}"
    if direction not in ("in", "out"):
        return f"the direction is {direction!r}"
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        return "not an object with a `type`"
    validator = validators.get((direction, frame["type"]))
    if validator is None:
        return f"no such type: {frame['type']!r}"
    complaints = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(frame)]
    return "; ".join(complaints) or None


def recorded(paths):
    """(where, direction, frame, what was wrong with the line) for each line that isn't empty."""
    for path in paths or ["-"]:
        with sys.stdin if path == "-" else open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                where = f"{path}:{number}"
                try:
                    entry = json.loads(line)
                    yield where, entry["direction"], entry["frame"], None
                except (ValueError, TypeError, KeyError) as error:
                    yield where, None, None, f"not a line of a recording: {error!r}"


def examples(messages):
    for direction, by_type in messages.items():
        for kind, message in by_type.items():
            for number, example in enumerate(message["examples"]):
                yield f"{kind}/{example.get('name', number)}", direction, example["payload"], None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*")
    parser.add_argument("--examples", action="store_true", help="check the document's own examples")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT)
    options = parser.parse_args()

    document = yaml.safe_load(options.document.read_text(encoding="utf-8"))
    messages = messages_by_direction(document)
    validators = validators_of(document, messages)

    passed = failed = 0
    for where, direction, frame, trouble in examples(messages) if options.examples else recorded(options.recordings):
        trouble = trouble or wrong_with(validators, direction, frame)
        if trouble is None:
            passed += 1
            continue
        failed += 1
        if failed <= MOST_SHOWN:
            print(f"{where}: {direction}: {trouble}", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    if passed + failed == 0:
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
