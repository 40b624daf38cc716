#!/usr/bin/env bash
# A machine of a fleet: namespaces and cgroups of its own, which all end when the standard input of its first process ends.
# Usage: machine.sh enter NAME DIR GROUP | boot NAME DIR | join COMMAND… | clean GROUP
set -uo pipefail

# cgroup_mounts: where this mount namespace shows cgroups.
cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }

# mount_cgroups: every hierarchy that the kernel has for this process, at its usual place, on a file system of its own.
mount_cgroups() {
  local controllers
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case $controllers in
    '') mkdir /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
    name=*) mkdir "/sys/fs/cgroup/${controllers#name=}" && mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/${controllers#name=}" ;;
    *)
      mkdir "/sys/fs/cgroup/$controllers" && mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
      local single
      case $controllers in *,*) for single in ${controllers//,/ }; do ln -s "$controllers" "/sys/fs/cgroup/$single"; done ;; esac
      ;;
    esac
  done </proc/self/cgroup
}

# show_cgroups: a container of CI may show none of version 1; they are mounted in this mount namespace alone.
show_cgroups() {
  [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && return
  cgroup_mounts | grep -q memory || mount_cgroups
}

# hand_down CGROUP: version 2 gives a child the controllers that its parent names.
hand_down() {
  local controller
  for controller in cpu memory pids cpuset io; do echo "+$controller" >"$1/cgroup.subtree_control"; done 2>/dev/null
}

# remove_groups DIRECTORY: a cgroup with all below it.
remove_groups() { [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; }

case $1 in
enter) # as the first process of a pid namespace: into cgroups of our own, then into the other namespaces
  name=$2 dir=$3 group=$4
  show_cgroups
  for place in $(cgroup_mounts); do
    remove_groups "$place$group/$name"
    mkdir -p "$place$group/$name"
    if [ -e "$place/cgroup.controllers" ]; then hand_down "$place" && hand_down "$place$group"; fi
    for file in cpuset.cpus cpuset.mems; do
      if [ -e "$place/$file" ] && [ ! -e "$place/cgroup.controllers" ]; then
        cat "$place/$file" >"$place$group/$file"
        cat "$place/$file" >"$place$group/$name/$file"
      fi
    done
    echo 0 >"$place$group/$name/cgroup.procs"
  done
  exec unshare --mount --uts --ipc --net --cgroup bash "$0" boot "$name" "$dir"
  ;;
boot)
  name=$2 dir=$3
  hostname "$name"
  mount -t proc proc /proc
  mount -t tmpfs -o mode=755,size=64m tmpfs /run
  mkdir /run/lock
  tr -d - </proc/sys/kernel/random/uuid >"$dir/machine-id"
  echo "$name" >"$dir/hostname"
  cat /proc/sys/kernel/random/uuid >"$dir/boot-id" # the kernel's own is that of the machine below
  mount --bind "$dir/boot-id" /proc/sys/kernel/random/boot_id
  for file in machine-id hostname; do [ ! -e "/etc/$file" ] || mount --bind "$dir/$file" "/etc/$file"; done
  version=$(stat -fc %T /sys/fs/cgroup)
  mount -t sysfs sysfs /sys # otherwise /sys/class/net shows the machine's own
  if [ "$version" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /sys/fs/cgroup/init
    echo 0 >/sys/fs/cgroup/init/cgroup.procs
    hand_down /sys/fs/cgroup
  else
    mount_cgroups
  fi
  ip link set lo up
  if [ -e "$dir/containerd.toml" ]; then
    containerd --config "$dir/containerd.toml" </dev/null >>"$dir/containerd.log" 2>&1 &
    echo $! >/run/containerd.pid
  fi
  echo up
  exec >/dev/null
  # The shell reaps whoever lost its parent while it waits here.
  while read -r _; do :; done
  ;;
join) # inside a machine: a process that nsenter brought in is not yet in the machine's cgroups
  shift
  for place in $(cgroup_mounts); do
    if [ -e "$place/init" ]; then echo 0 >"$place/init/cgroup.procs"; else echo 0 >"$place/cgroup.procs"; fi
  done
  exec "$@"
  ;;
clean)
  show_cgroups
  for _ in {1..100}; do
    left=
    for place in $(cgroup_mounts); do
      remove_groups "$place$2"
      [ ! -d "$place$2" ] || left=$place$2
    done
    [ -n "$left" ] || exit 0
    sleep 0.05
  done
  echo "$left is still there" >&2
  exit 1
  ;;
esac
