#!/bin/sh
# Types, tidy and unit tests: no root, under 30 s.
set -eu
exec sh "$(dirname "$0")/test.sh" unit
