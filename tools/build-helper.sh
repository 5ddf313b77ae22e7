#!/bin/sh
# Builds the helper into build/gantry-helper: freestanding, static, no libc.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
native=$root/packages/linux/native
mkdir -p "$root/build"
${CC:-gcc} -O2 -std=gnu17 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pie -no-pie -nostdlib -static \
  -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
  -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--build-id=none \
  -o "$root/build/gantry-helper.new" "$native"/*.c
mv "$root/build/gantry-helper.new" "$root/build/gantry-helper"
