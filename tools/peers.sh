#!/bin/sh
# peers.sh DIR: unpacks the engines and clients that judge us (dockerd, Podman, Compose v2, buildx, runc, crun) from Debian's
# unstable suite into DIR, installing none of them. DIR/bin has the programs, each bound to the libraries of its own suite.
# Needs root and a Debian system whose package sources are set up. Run again, it ends at once where all is there.
set -eu
[ $# = 1 ] || { echo "usage: peers.sh DIR" >&2; exit 2; }
mkdir -p "$1"
home=$(cd "$1" && pwd -P)
[ ! -e "$home/complete" ] || exit 0

programs='docker.io docker-cli docker-compose docker-buildx containerd runc crun podman conmon netavark aardvark-dns'
settings='golang-github-containers-common golang-github-containers-image'
libraries='libc6 libgcc-s1 libseccomp2 libyajl2 libblake3-0 libsubid6 libgpgme45 libassuan9 libgpg-error0 libsqlite3-0 libsystemd0
  libcap2 libapparmor1 libdevmapper1.02.1 libudev1 libselinux1 libaudit1 libpcre2-8-0 libacl1 libattr1 libbsd0 libmd0 libcrypt1
  libpam0g libglib2.0-0t64 libcap-ng0 zlib1g libzstd1 libtbb12 libstdc++6 libatomic1 libbtrfs0t64 libffi8 libmount1 libblkid1'

wanted=
command -v patchelf >/dev/null 2>&1 || wanted="$wanted patchelf"
command -v iptables >/dev/null 2>&1 || [ -x /usr/sbin/iptables ] || wanted="$wanted iptables"
# shellcheck disable=SC2086
[ -z "$wanted" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null

# The same mirror as this machine's, of another suite, with lists of its own.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -e security -e '^file:' | head -n 1)
[ -n "$mirror" ] || { echo "peers: this system has no Debian package source" >&2; exit 1; }
mkdir -p "$home/apt/lists/partial" "$home/debs" "$home/root" "$home/bin"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$home/apt/sources.list"
apt() { apt-get -qq -o "Dir::Etc::SourceList=$home/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$home/apt/lists" -o "Dir::Cache=$home/apt" -o APT::Sandbox::User=root "$@"; }
apt update
cd "$home/debs"
# A library whose name has changed since is told of and may not be missed; a program is.
for package in $programs; do apt download "$package"; done
for package in $settings $libraries; do apt download "$package" 2>/dev/null || echo "peers: no package $package in this suite" >&2; done
for file in *.deb; do dpkg -x "$file" "$home/root"; done

libs=$(dirname "$(find "$home/root" -name 'libc.so.6' | head -n 1)")
loader=$(find "$home/root" -name 'ld-linux*.so.*' | head -n 1)
for name in dockerd docker-proxy containerd containerd-shim-runc-v2 runc crun podman conmon netavark aardvark-dns docker docker-compose docker-buildx; do
  file=$(find "$home/root/usr" -name "$name" -type f -perm -100 | head -n 1)
  [ -n "$file" ] || { echo "peers: $name is in none of the packages" >&2; exit 1; }
  if patchelf --print-interpreter "$file" >/dev/null 2>&1; then patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libs" "$file"; fi
  ln -sf "$file" "$home/bin/$name"
done
rm -r "$home/debs" "$home/apt"
: >"$home/complete"
