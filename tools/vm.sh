#!/bin/sh
# Runs a command on a Debian kernel with only cgroup version 2, in QEMU under software emulation, as root in this very file
# system: read-only, below a tmpfs that takes what is written. Ends with the command's exit code, or with 124 when the machine
# was still up after $GANTRY_VM_LIMIT seconds (600).
#   tools/vm.sh COMMAND [ARGUMENT...]
# Needs qemu-system-x86, kmod and cpio (Debian packages); the kernel is fetched by name and kept in $GANTRY_CACHE.
set -eu
[ $# -gt 0 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd -P)
cache=${GANTRY_CACHE:-/var/cache/gantry-tests}/vm
fail() { printf 'vm: %s\n' "$*" >&2; exit 125; }
for tool in qemu-system-x86_64:qemu-system-x86 modprobe:kmod cpio:cpio; do
  command -v "${tool%:*}" >/dev/null 2>&1 || fail "${tool%:*} is missing; try: apt-get install ${tool#*:}"
done
mkdir -p "$cache"

if [ ! -e "$cache/ready" ]; then
  package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  [ -n "$package" ] || fail "no kernel package is known; try: apt-get update"
  printf 'vm: fetching %s\n' "$package" >&2
  rm -rf "$cache/deb" "$cache/kernel"
  mkdir -p "$cache/deb" "$cache/kernel"
  (cd "$cache/deb" && apt-get download -qq "$package" 2>/dev/null) || fail "cannot fetch it; try: apt-get download $package"
  dpkg -x "$cache"/deb/*.deb "$cache/kernel"
  rm -rf "$cache/deb"
  mkdir -p "$cache/kernel/usr"
  mv "$cache/kernel/lib" "$cache/kernel/usr/lib"
  ln -s usr/lib "$cache/kernel/lib"
  depmod -b "$cache/kernel" "$(ls "$cache/kernel/lib/modules")"
  : >"$cache/ready"
fi
version=$(ls "$cache/kernel/lib/modules")

work=$(mktemp -d /tmp/gvm-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/initrd/bin" "$work/initrd/modules"
cp /bin/busybox "$work/initrd/bin/busybox"
for module in virtio_pci 9pnet_virtio 9p overlay loop; do
  modprobe -d "$cache/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' >"$work/modules"
while read -r file; do cp "$file" "$work/initrd/modules/"; done <"$work/modules"
sed 's|.*/||' "$work/modules" >"$work/initrd/modules/order"

cat >"$work/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /host /kernel /job /scratch /root
/bin/busybox mount -t proc proc /proc
while read -r name; do /bin/busybox insmod "/modules/$name"; done </modules/order
for share in host kernel job; do
  /bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 "$share" "/$share"
done
/bin/busybox mount -t tmpfs -o size=75% tmpfs /scratch
/bin/busybox mkdir /scratch/upper /scratch/work
/bin/busybox mount -t overlay -o lowerdir=/kernel:/host,upperdir=/scratch/upper,workdir=/scratch/work overlay /root
for target in proc sys dev tmp run; do /bin/busybox mkdir -p "/root/$target"; done
/bin/busybox mount -t devtmpfs dev /root/dev
/bin/busybox mount -t sysfs sysfs /root/sys
/bin/busybox mount -t tmpfs tmpfs /root/tmp
/bin/busybox mount -t tmpfs tmpfs /root/run
/bin/busybox mkdir -p /root/dev/pts /root/dev/shm /root/tmp/job
/bin/busybox mount -t devpts devpts /root/dev/pts
/bin/busybox mount -t tmpfs tmpfs /root/dev/shm
/bin/busybox mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
# A checkout below /tmp or /run would be hidden by what was just mounted there.
while read -r hidden; do
  /bin/busybox mkdir -p "/root$hidden"
  /bin/busybox mount --bind "/host$hidden" "/root$hidden"
done </job/hidden
/bin/busybox cp /job/command /root/tmp/job/command
/bin/busybox mount --move /proc /root/proc
exec /bin/busybox switch_root /root /bin/busybox sh -c '
  stty -F /dev/ttyS0 -onlcr -echo 2>/dev/null
  ip link set lo up
  sh /tmp/job/command </dev/null >/dev/ttyS0 2>&1
  echo $? >/dev/ttyS1
  sync
  /bin/busybox poweroff -f'
INIT
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet) >"$work/initrd.cpio"

mkdir "$work/job"
quoted=
for word in "$@"; do quoted="$quoted '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"; done
printf 'export HOME=/root PATH=%s TERM=dumb\ncd %s\n%s\n' "'$PATH'" "'$(pwd -P)'" "$quoted" >"$work/job/command"
for path in "$root" "$(pwd -P)"; do
  case $path in /tmp/* | /run/*) printf '%s\n' "$path" ;; esac
done | sort -u >"$work/job/hidden"
: >"$work/exit"
limit=${GANTRY_VM_LIMIT:-600}
ended=0
timeout --foreground --kill-after=5 "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-pku -smp 1 -m 3072 -display none -no-reboot -nodefaults \
  -kernel "$cache/kernel/boot/vmlinuz-$version" -initrd "$work/initrd.cpio" \
  -append "console=ttyS0 quiet loglevel=1 panic=-1 rdinit=/init cgroup_no_v1=all mitigations=off" \
  -serial stdio -serial "file:$work/exit" \
  -fsdev "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap" -device virtio-9p-pci,fsdev=host,mount_tag=host \
  -fsdev "local,id=kernel,path=$cache/kernel,security_model=none,readonly=on" -device virtio-9p-pci,fsdev=kernel,mount_tag=kernel \
  -fsdev "local,id=job,path=$work/job,security_model=none,readonly=on" -device virtio-9p-pci,fsdev=job,mount_tag=job \
  </dev/null &
machine=$!
trap 'kill $machine; wait $machine; exit 130' INT TERM
wait $machine || ended=$?
case $ended in
  0) ;;
  124 | 137) printf 'vm: the machine was still up after %s s and was ended\n' "$limit" >&2; exit 124 ;;
  *) fail "QEMU ended with $ended" ;;
esac
code=$(tr -dc 0-9 <"$work/exit")
[ -n "$code" ] || fail 'the machine ended before the command did'
exit "$code"
