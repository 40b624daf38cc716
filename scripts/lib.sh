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
