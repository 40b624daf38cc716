# shellcheck shell=bash
# What the scripts share: words for people, root, and where things are. Sourced, never run.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin"
CARGO=${CARGO:-cargo}

# say TEXT: a plain line; heading TEXT: one that stands out; die TEXT: the last one.
say() { printf '%s\n' "$*"; }
heading() {
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\n\033[1m== %s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi
}
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND…: runs it as root, through sudo where that is needed and there.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "'$*' needs root, and there is no sudo: run this as root"
  fi
}

# version: the version that Cargo.toml gives the package.
version() { sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -n 1; }

# until_true SECONDS COMMAND…: asks again until COMMAND succeeds. Only for daemons that cannot tell when they are ready.
until_true() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# debian_source SUITE: apt's line for another release of Debian from the mirror that this machine uses.
debian_source() {
  local mirror keyring
  # shellcheck disable=SC2016 # apt's own placeholders
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 !~ /security/ && $1 ~ /debian/ {print $1; exit}')
  [ -n "$mirror" ] || die "no Debian mirror is configured for apt"
  keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' | head -n 1)
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$1"
}
