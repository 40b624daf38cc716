# shellcheck shell=bash
# shellcheck disable=SC2034 # what the checks use is set here
# The words in which the checks are written. Sourced, inside a test guest.

state=/var/lib/podward-checks
port=/dev/virtio-ports/report
image=docker.io/library/busybox:vm
cgroups=/sys/fs/cgroup
v2=no; [ "$(stat -fc %T "$cgroups")" = cgroup2fs ] && v2=yes
export NO_COLOR=1 SYSTEMD_PAGER=cat SYSTEMD_COLORS=0

# report TEXT: to whoever started the guest, and to the console.
report() { printf '%s\n' "$*" >"$port"; printf 'REPORT %s\n' "$*"; }

# why TEXT: the reason of the failure that follows. Always false, so that it can end a check.
why() { reason="$*"; return 1; }

# check NAME FUNCTION…: runs it, and reports.
check() {
  local name=$1 began=$SECONDS; shift
  reason=
  # The unit allows five starts in a minute; these checks make more.
  systemctl reset-failed podward 2>/dev/null
  if "$@"; then
    report "ok    $name ($((SECONDS - began)) s)"
  else
    report "FAIL  $name ($((SECONDS - began)) s): $(tr '\n' ' ' <<<"${reason:-$* said no}")"
    { podward get pods -A -o wide; journalctl -u podward -n 40 --no-pager -o short-monotonic; } 2>&1 | sed 's/^/    /'
  fi
}

# until_true SECONDS COMMAND…: asks again until COMMAND succeeds. A guest without KVM is slow: be generous.
until_true() {
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# equal WHAT HAVE WANT
equal() { [ "$2" = "$3" ] || why "$1 is '$2', not '$3'"; }

# What an operator does.

# daemon_set NAME RESOURCES SCRIPT: writes a DaemonSet whose one container, `main`, runs SCRIPT.
daemon_set() {
  jq -n --arg name "$1" --argjson resources "$2" --arg script "$3" --arg image "$image" '{
    apiVersion: "apps/v1", kind: "DaemonSet", metadata: {name: $name, namespace: "default"},
    spec: {selector: {matchLabels: {app: $name}}, template: {metadata: {labels: {app: $name}}, spec: {
      hostNetwork: true, terminationGracePeriodSeconds: 5,
      containers: [{name: "main", image: $image, command: ["sh", "-c", $script], resources: $resources}]}}}}' \
    >"/etc/podward/$1.partial" && mv "/etc/podward/$1.partial" "/etc/podward/manifests/$1.yaml"
}
# shellcheck disable=SC2016 # for the container's shell
stay='trap "exit 0" TERM; n=0; while :; do n=$((n + 1)); echo line $n; sleep 1 & wait $!; done'
limits='{"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}'

# configure YAML: replaces the settings and starts the agent anew.
configure() { printf '%s\n' "$1" >/etc/podward/config.yaml && systemctl restart podward; }

# What an operator sees.

# pod NAME: the pod of a set, as JSON; false when there is none.
pod() {
  podward get pods -n default -o json 2>/dev/null |
    jq -e --arg set "$1" '[(.items // [.])[] | select(.metadata.ownerReferences[0].name? == $set)][0] // empty'
}
field() { pod "$1" | jq -r "$2 // empty"; }
running() { [ "$(field "$1" '.status.containerStatuses[0].state.running.startedAt')" ]; }
becomes_running() { until_true "${2:-60}" running "$1" || why "the pod of $1 does not run: $(field "$1" '.status | {phase, containerStatuses} | tojson')"; }
uid() { field "$1" .metadata.uid; }
container() { local id; id=$(field "$1" '.status.containerStatuses[0].containerID'); echo "${id#containerd://}"; }
task_pid() { ctr -n podward tasks ls | awk -v id="$(container "$1")" '$1 == id {print $2}'; }

# identity: of every pod what must not change while it lives: its container, attempts and start, as the agent and as the kernel tell it.
identity() {
  podward get pods -A -o json | jq -r '.items[] | [.metadata.name, .metadata.uid, (.status.containerStatuses[] | .containerID, .restartCount, .state.running.startedAt)] | @tsv' | sort
  local pid; for pid in $(ctr -n podward tasks ls | awk '$3 == "RUNNING" {print $2}' | sort -n); do
    echo "$pid started at $(awk '{print $22}' "/proc/$pid/stat") with '$(tr '\0' ' ' <"/proc/$pid/cmdline" | head -c 40)'"
  done
}
answers() { podward get pods >/dev/null 2>&1; }

# unchanged COMMAND…: runs it; every pod must be the same before and after, and the agent must see ends and changes as ever.
unchanged() {
  local before after
  before=$(identity)
  [ "$(grep -c started <<<"$before")" -ge 2 ] || { why "too few pods to tell: $before"; return; }
  "$@" || return
  until_true 30 answers || { why "the agent does not answer"; return; }
  podward sync >/dev/null 2>&1
  after=$(identity)
  [ "$before" = "$after" ] || why "before: $before; after: $after"
}
agent_pid() { systemctl show -P MainPID podward; }
restarts() { systemctl show -P NRestarts podward; }
active() { [ "$(systemctl is-active podward)" = active ]; }

# groups NAME: sets $slice (the pod's group), $scope (its container's), relative to the hierarchy, as the kernel tells it.
groups() {
  local pid; pid=$(task_pid "$1")
  [ -n "$pid" ] || { why "no task of $1"; return; }
  if [ "$v2" = yes ]; then scope=$(cut -d: -f3 "/proc/$pid/cgroup"); else scope=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ {print $3}' "/proc/$pid/cgroup"); fi
  # crun puts the process one group deeper.
  scope=${scope%/container}
  slice=${scope%/*}
}
limits_hold() {
  local slice scope group file best
  groups best || return; best=$slice
  groups limited || return
  if [ "$v2" = yes ]; then
    for group in "$slice" "$scope"; do
      equal "memory.max of $group" "$(cat "$cgroups$group/memory.max")" 67108864 || return
      equal "cpu.max of $group" "$(cat "$cgroups$group/cpu.max")" "50000 100000" || return
    done
    equal "pids.max of $scope" "$(cat "$cgroups$scope/pids.max")" max || return
    # What asks for processor time gets more of it than what does not.
    equal "cpu.weight of the limited pod" "$(cat "$cgroups$slice/cpu.weight")" 35 || return
    equal "cpu.weight of the best-effort pod" "$(cat "$cgroups$best/cpu.weight")" 1 || return
  else
    for group in "$slice" "$scope"; do
      equal "memory limit of $group" "$(cat "$cgroups/memory$group/memory.limit_in_bytes")" 67108864 || return
      equal "cpu quota of $group" "$(cat "$cgroups/cpu,cpuacct$group/cpu.cfs_quota_us")" 50000 || return
    done
    equal "cpu.shares of the limited pod" "$(cat "$cgroups/cpu,cpuacct$slice/cpu.shares")" 256 || return
    equal "cpu.shares of the best-effort pod" "$(cat "$cgroups/cpu,cpuacct$best/cpu.shares")" 2 || return
  fi
  equal "oom_score_adj of best" "$(cat "/proc/$(task_pid best)/oom_score_adj")" 1000
}

# remaining: all that belongs to pods and is still there, one line each.
remaining() {
  local kind
  for kind in containers tasks leases; do ctr -n podward "$kind" ls -q | sed "s/^/$kind: /"; done
  ctr -n podward snapshots ls | awk 'NR > 1 && $NF != "Committed" {print "snapshot: " $1}'
  systemctl list-units --all --plain --no-legend 'podward-*' | awk '{print "unit: " $0}'
  # What systemd was told at run time, and what it made itself.
  find /run/systemd/system.control /run/systemd/transient /etc/systemd/system.control -name 'podward-*' 2>/dev/null | sed 's/^/drop-in: /'
  find "$cgroups" -depth -type d \( -name 'podward-pod*' -o -name 'podward-*.scope' -o -path '*/podward/*' \) 2>/dev/null | sed 's/^/cgroup: /'
  grep -E ' /(run|var/lib)/podward/| /run/containerd/[^ ]*/podward/' /proc/mounts | sed 's/^/mount: /'
  pgrep -af 'containerd-shim|podward log' | sed 's/^/process: /'
  find /run/podward/pods /run/podward/runc/podward /var/lib/podward/pods /var/log/pods /var/log/containers -mindepth 1 -maxdepth 1 2>/dev/null | sed 's/^/entry: /'
}
nothing_remains() { [ -z "$(remaining)" ]; }

# remove_all: removes every set; nothing of them may remain.
remove_all() {
  rm -f /etc/podward/manifests/*
  podward sync >/dev/null 2>&1
  until_true 30 nothing_remains || why "$(remaining)"
}
