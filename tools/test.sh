#!/bin/sh
# All tests, after the set-up. `test.sh unit` leaves out those that need root and real containers; `test.sh root` runs only those.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
sh "$root/tools/setup.sh"
cd "$root"
# Judges that are Debian packages; without them their tests say so and are skipped. Asked for once.
if [ "$(id -u)" = 0 ] && [ ! -e build/judges-asked ] && command -v apt-get >/dev/null 2>&1; then
  wanted=
  python3 -c 'import docker' 2>/dev/null || wanted="$wanted python3-docker"
  [ -x /usr/bin/docker-compose ] || wanted="$wanted docker-compose"
  [ -x /usr/sbin/nft ] || wanted="$wanted nftables"
  [ -e /usr/include/seccomp.h ] || wanted="$wanted libseccomp-dev"
  for pair in skopeo:skopeo runc:runc crun:crun criu:criu mkfs.btrfs:btrfs-progs; do
    command -v "${pair%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
  done
  # shellcheck disable=SC2086
  [ -z "$wanted" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >build/apt.log 2>&1 || echo "not installed, their tests are skipped:$wanted"
  # Engines and clients of today, unpacked and not installed.
  [ -n "${GANTRY_PEERS:-}" ] || sh tools/peers.sh build/peers >build/peers.log 2>&1 || echo "no peers (build/peers.log), the tests beside them are skipped"
  : >build/judges-asked
fi
[ -n "${GANTRY_PEERS:-}" ] || [ ! -e build/peers/complete ] || export GANTRY_PEERS="$root/build/peers"
case ${1:-all} in
  unit) exec build/node --test --test-concurrency=1 --test-reporter=spec 'packages/**/*.test.ts' 'tools/*.test.ts' ;;
  root) set -- 'tests/**/*.test.ts' ;;
  *) set -- 'packages/**/*.test.ts' 'tools/*.test.ts' 'tests/**/*.test.ts' ;;
esac
exec build/node --test --test-concurrency=1 --test-global-setup=tests/vm/ahead.ts --test-reporter=spec "$@"
