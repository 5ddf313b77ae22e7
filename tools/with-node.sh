#!/bin/sh
# Runs a script of this repository with the Node that belongs to it, after the set-up.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
sh "$root/tools/setup.sh" >&2
cd "$root"
exec "$root/build/node" "$@"
