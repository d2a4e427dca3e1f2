#!/bin/sh
# Ends with status 0 when a Swift that can build Dibs is on the PATH; else says how to get one.
set -eu

needed=6.3
if command -v swift >/dev/null; then
    # "Swift version 6.3.1 (swift-6.3.1-RELEASE)", perhaps after other words.
    found=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    oldest=$(printf '%s\n%s\n' "$needed" "${found:-0}" | sort -V | head -n 1)
    [ "$oldest" != "$needed" ] || exit 0
    echo "Dibs needs Swift $needed or newer; the swift on the PATH is ${found:-of an unknown version}." >&2
else
    echo "Dibs needs Swift $needed or newer, and there is no swift on the PATH." >&2
fi
cat >&2 <<'HOW'
Get it from https://www.swift.org/install/linux/: either with Swiftly,
  curl -O https://download.swift.org/swiftly/linux/swiftly-$(uname -m).tar.gz
  tar zxf swiftly-$(uname -m).tar.gz && ./swiftly init
or by unpacking the tarball for Debian 12 and putting its usr/bin on the PATH.
HOW
exit 1
