#!/usr/bin/env python3
"""Holds recorded WebSocket frames to docs/asyncapi.yaml.

    asyncapi_check.py [--needs held,seats] recording.jsonl …     (`-` or nothing: standard input)
    asyncapi_check.py --examples                                 (the document's own examples instead)

A recording has a JSON object a line: {"direction": "in" | "out", "frame": {…}, "connection": "…"}. The directions are
the server's, as in AsyncAPI: `in` is what a client sent, `out` is what the server sent. `frame` may also be the text
of a frame, and without `connection` all lines are one connection's. Each frame is validated against the payload schema
of its `type` among the messages of that direction; a type that the document doesn't have there is a mismatch. What
frames say together is checked by conversation.py. The exit code is 1 when a frame doesn't pass, or when the server
sent none of a type that is needed, and 2 when nothing could be checked.
"""

import argparse
import json
import pathlib
import sys

import yaml
from conversation import Conversations
from jsonschema import Draft202012Validator

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
MOST_SHOWN = 50


class Reader:
    """Reads a document, and puts what a `$ref` stands for, in this file or another, in its place."""

    def __init__(self):
        self.files = {}

    def document(self, path):
        return self.resolved(self.file(path), path)

    def file(self, path):
        if path not in self.files:
            self.files[path] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return self.files[path]

    def resolved(self, node, path):
        if isinstance(node, list):
            return [self.resolved(item, path) for item in node]
        if not isinstance(node, dict):
            return node
        rest = {key: self.resolved(value, path) for key, value in node.items() if key != "$ref"}
        if "$ref" not in node:
            return rest
        name, _, pointer = node["$ref"].partition("#/")
        home = (path.parent / name.removesuffix("#")).resolve() if name else path
        target = self.file(home)
        for part in pointer.split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        found = self.resolved(target, home)
        return {"allOf": [found], **rest} if rest else found


def kind_of(message):
    return message["payload"]["properties"]["type"]["const"]


def messages_by_direction(document):
    """`receive` is `in`, `send` is `out`, and what replies to something received is `out` as well."""
    found = {"in": {}, "out": {}}
    for operation in document["operations"].values():
        received = operation["action"] == "receive"
        lists = [("in" if received else "out", operation["messages"])]
        if "reply" in operation:
            lists.append(("out" if received else "in", operation["reply"]["messages"]))
        for direction, messages in lists:
            for message in messages:
                found[direction][kind_of(message)] = message
    return found


def replies_of(document):
    """What may answer each type that a client sends."""
    return {
        kind_of(message): {kind_of(reply) for reply in operation["reply"]["messages"]}
        for operation in document["operations"].values()
        if operation["action"] == "receive" and "reply" in operation
        for message in operation["messages"]
    }


def validators_of(messages):
    """One validator for each direction and type."""
    validators = {}
    for direction, by_type in messages.items():
        for kind, message in by_type.items():
            Draft202012Validator.check_schema(message["payload"])
            validators[direction, kind] = Draft202012Validator(message["payload"])
    return validators


def wrong_with(validators, direction, frame):
    """What is wrong with one frame, or None."""
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
    """(where, connection, direction, frame, what was wrong with the line) for each line that isn't empty."""
    for path in paths or ["-"]:
        with sys.stdin if path == "-" else open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                where = f"{path}:{number}"
                try:
                    entry = json.loads(line)
                    frame = entry["frame"]
                    frame = json.loads(frame) if isinstance(frame, str) else frame
                    yield where, (path, entry.get("connection")), entry["direction"], frame, None
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    yield where, None, None, None, f"not a line of a recording: {error!r}"


def examples(messages):
    """The same for the examples, each on a connection of its own."""
    for direction, by_type in messages.items():
        for kind, message in by_type.items():
            for number, example in enumerate(message["examples"]):
                where = f"{kind}/{example.get('name', number)}"
                yield where, where, direction, example["payload"], None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*")
    parser.add_argument("--examples", action="store_true", help="check the document's own examples")
    parser.add_argument("--needs", default="", help="types that the server must have sent, with commas between")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT)
    options = parser.parse_args()

    document = Reader().document(options.document.resolve())
    messages = messages_by_direction(document)
    validators = validators_of(messages)
    # An example answers nothing that was asked.
    conversations = None if options.examples else Conversations(replies_of(document))

    passed = failed = 0
    sent = set()
    for entry in examples(messages) if options.examples else recorded(options.recordings):
        where, connection, direction, frame, trouble = entry
        trouble = trouble or wrong_with(validators, direction, frame)
        if trouble is None and conversations:
            trouble = conversations.wrong_with(connection, direction, frame)
        if trouble is None:
            passed += 1
            if direction == "out":
                sent.add(frame["type"])
            continue
        failed += 1
        if failed <= MOST_SHOWN:
            print(f"{where}: {direction}: {trouble}", file=sys.stderr)
    missing = {kind for kind in options.needs.split(",") if kind} - sent
    for kind in sorted(missing):
        print(f"the server sent no {kind!r} that passes", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    if passed + failed == 0:
        return 2
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
