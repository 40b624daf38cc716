# shellcheck shell=bash
# A containerd of one's own below one directory. Sourced after lib.sh; whoever starts it stops it.

# containerd_start DIR: starts it; its socket is DIR/containerd.sock, its process id $containerd_pid.
containerd_start() {
  local dir=$1
  mkdir -p "$dir"
  [ -e /run/containerd ] || containerd_made_run=yes
  cat >"$dir/config.toml" <<TOML
version = 2
root = "$dir/root"
state = "$dir/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.nri.v1.nri"]
[grpc]
address = "$dir/containerd.sock"
[debug]
level = "warn"
TOML
  # A session of its own: a terminal's Ctrl-C then reaches the script, which stops things in their order.
  setsid "${CONTAINERD:-containerd}" --config "$dir/config.toml" >"$dir/log" 2>&1 </dev/null &
  containerd_pid=$!
  until_true 20 ctr --address "$dir/containerd.sock" version || { tail -n 5 "$dir/log" >&2; die "containerd did not start"; }
}

# containerd_stop DIR: ends what still runs in its namespace `podward`, the daemon, and whatever is mounted below DIR.
containerd_stop() {
  local dir=$1 id point
  if [ -S "$dir/containerd.sock" ] && kill -0 "${containerd_pid:-0}" 2>/dev/null; then
    local ctr=(timeout 10 ctr --address "$dir/containerd.sock" --namespace podward)
    for id in $("${ctr[@]}" tasks ls -q 2>/dev/null); do "${ctr[@]}" tasks rm -f "$id" >/dev/null 2>&1 || true; done
    for id in $("${ctr[@]}" containers ls -q 2>/dev/null); do "${ctr[@]}" containers rm "$id" >/dev/null 2>&1 || true; done
    kill "$containerd_pid" 2>/dev/null || true
    wait "$containerd_pid" 2>/dev/null || true
  fi
  until_true 5 no_shims "$dir" || for pid in $(shims "$dir"); do kill -9 "$pid" 2>/dev/null || true; done
  while read -r point; do umount -l "$point" 2>/dev/null || true; done < <(mounts_below "$dir")
  # The shims' sockets and runc's records lie at fixed places; those directories go too if they came with us.
  if [ "${containerd_made_run:-}" = yes ]; then
    rmdir /run/containerd/{fifo,s,runc/podward,runc,} 2>/dev/null || true
  fi
}

# shims DIR: the process ids of the shims that belong to the containerd in DIR.
shims() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' <"$file" 2>/dev/null | grep -q "containerd-shim.* $1/containerd.sock "; then
      file=${file#/proc/}; echo "${file%/cmdline}"
    fi
  done
}
no_shims() { [ -z "$(shims "$1")" ]; }

# mounts_below DIR: mount points at or below it, the last mounted first.
mounts_below() { awk -v dir="$1" '$5 == dir || index($5, dir "/") == 1 {print $5}' /proc/self/mountinfo | tac; }
