#!/bin/sh
# All tests, after the set-up. `test.sh unit` leaves out those that need root and real containers; `test.sh root` runs only those.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
sh "$root/tools/setup.sh"
cd "$root"
case ${1:-all} in
  unit) set -- 'packages/**/*.test.ts' 'tools/*.test.ts' ;;
  root) set -- 'tests/**/*.test.ts' ;;
  *) set -- 'packages/**/*.test.ts' 'tools/*.test.ts' 'tests/**/*.test.ts' ;;
esac
exec build/node --test --test-concurrency=1 --test-reporter=spec "$@"
