# shellcheck shell=bash
# The first boot: install, run, limit, kill, restart, remove, with one cgroup driver and then the other. Sourced by checks.sh.

report "note  Debian $(cat /etc/debian_version), kernel $(uname -r), $(systemctl --version | awk 'NR == 1 {print $1, $2}'), $(containerd --version | awk '{print "containerd", $3}'), $(runc --version | awk 'NR == 1'), cgroup v2: $v2"

# The package, and the service that it brings.

installs() {
  local said
  said=$(dpkg -i /payload/podward.deb 2>&1) || { why "dpkg: $said"; return; }
  until_true 30 active || { why "the package does not start its service: $(systemctl status podward 2>&1 | head -5)"; return; }
  systemctl stop podward
}
becomes_active() {
  systemctl start podward || { why "systemctl start: $(journalctl -u podward -n 5 -o cat)"; return; }
  # Type=notify: once `start` returned, the agent answers, without waiting for it.
  active && answers || { why "started, but no answer"; return; }
  equal "Type" "$(systemctl show -P Type podward)" notify
}
status_is_clean() {
  local said
  said=$(systemctl status podward 2>&1) || { why "$said"; return; }
  grep -qiE 'warn|error|fail|degraded' <<<"$said" && { why "$said"; return; }
  grep -q 'Status: "running"' <<<"$said" || { why "no status text: $said"; return; }
  said=$(systemd-analyze verify --man=no podward.service podward.slice 2>&1 | grep podward)
  [ -z "$said" ] || { why "$said"; return; }
  equal "NRestarts" "$(restarts)" 0
}
containerd_is_found() { podward version 2>/dev/null | grep -qi 'containerd.*[0-9]\.[0-9]'; }
starts_without_containerd() {
  systemctl stop podward containerd
  # Masked, or the unit's Wants= would start it.
  systemctl mask --runtime --quiet containerd
  timeout 60 systemctl start podward || { why "podward does not start without containerd"; return; }
  answers || { why "no answer without containerd"; return; }
  systemctl unmask --runtime --quiet containerd
  systemctl start containerd
  until_true 30 containerd_is_found || why "does not find containerd again: $(podward version 2>&1)"
}

# Pods.

image_is_there() { ctr -n podward images ls -q | grep -qx "$image"; }
image_arrives() {
  cp /payload/busybox.tar /var/lib/podward/images/.busybox && mv /var/lib/podward/images/.busybox /var/lib/podward/images/busybox.tar
  until_true 60 image_is_there || why "not imported: $(journalctl -u podward -n 5 -o cat)"
}
pods_run() {
  daemon_set limited "$limits" "$stay"
  daemon_set best '{}' "$stay"
  becomes_running limited && becomes_running best
}

systemd_owns_the_pods() {
  local slice scope unit
  groups limited || return
  unit=podward-pod$(uid limited | tr - _).slice
  equal "the pod's group" "$slice" "/podward.slice/$unit" || return
  equal "the container's group" "${scope##*/}" "podward-$(container limited).scope" || return
  equal "$unit" "$(systemctl is-active "$unit")" active || return
  equal "${scope##*/}" "$(systemctl is-active "${scope##*/}")" active || return
  # What the host waits for a container that does not end when it goes down itself.
  equal "TimeoutStopUSec of ${scope##*/}" "$(systemctl show -P TimeoutStopUSec "${scope##*/}")" 5s
}
the_agent_owns_the_pods() {
  local slice scope
  groups limited || return
  equal "the pod's group" "$slice" "/podward/pod$(uid limited)" || return
  equal "the container's group" "${scope##*/}" "$(container limited)" || return
  equal "units" "$(systemctl list-units --all --plain --no-legend 'podward-*')" ""
}
limits_outlive_a_reload() { systemctl daemon-reload && limits_hold; }
# The kernel kills a container as a whole.
oom_group() { local slice scope; groups limited && cat "$cgroups$scope/memory.oom.group"; }
killed_as_a_whole() { equal "memory.oom.group" "$(oom_group)" 1; }
killed_for_memory() { [ "$(field "$1" '.status.containerStatuses[0].lastState.terminated.reason')" = OOMKilled ]; }
no_pod() { ! pod "$1" >/dev/null; }
memory_kills_are_told() {
  daemon_set hungry '{"limits": {"memory": "32Mi"}}' 'echo hungry; head -c 200000000 /dev/zero | tail; sleep 1000'
  until_true 60 killed_for_memory hungry || { why "$(field hungry '.status.containerStatuses | tojson')"; return; }
  equal "exit code" "$(field hungry '.status.containerStatuses[0].lastState.terminated.exitCode')" 137 || return
  rm /etc/podward/manifests/hungry.yaml
  podward sync >/dev/null
  until_true 30 no_pod hungry || why "the pod of hungry does not go"
}

# Outliving.

another_agent_than() { active && [ "$(agent_pid)" != "$1" ]; }
kill_agent() {
  local pid count
  pid=$(agent_pid) count=$(restarts)
  kill -9 "$pid"
  until_true 30 another_agent_than "$pid" || { why "not restarted"; return; }
  [ "$(restarts)" = $((count + 1)) ] || why "NRestarts went from $count to $(restarts)"
}
stop_and_start() { systemctl stop podward && sleep 1 && systemctl start podward; }
longer_than() { [ "$(wc -l <"$1")" -gt "$2" ]; }
restart_containerd() {
  local log before
  log=$(find "/var/log/pods/default_$(field best .metadata.name)_$(uid best)" -name '*.log')
  systemctl restart containerd || { why "containerd does not restart"; return; }
  before=$(wc -l <"$log")
  until_true 20 longer_than "$log" $((before + 2)) || why "logs stop with containerd: $before lines"
}
# The agent answers before it has taken stock of its pods.
restart_both() { systemctl restart podward && becomes_running best && restart_containerd; }
attempts() { pod "$1" | jq '.status.containerStatuses[0].restartCount'; }
runs_at_attempt() { running "$1" && [ "$(attempts "$1")" = "$2" ]; }
ends_are_seen() {
  local before; before=$(attempts best)
  kill -9 "$(task_pid best)"
  until_true 60 runs_at_attempt best $((before + 1)) || why "$(field best '.status.containerStatuses | tojson')"
}
short_watchdog() {
  mkdir -p /run/systemd/system/podward.service.d
  printf '[Service]\nWatchdogSec=5s\n' >/run/systemd/system/podward.service.d/watchdog.conf
  systemctl daemon-reload && systemctl restart podward
}
an_idle_agent_satisfies_the_watchdog() {
  local pid; pid=$(agent_pid)
  equal "WatchdogUSec" "$(systemctl show -P WatchdogUSec podward)" 5s || return
  sleep 15
  equal "the agent's process" "$(agent_pid)" "$pid"
}
stop_agent_by_signal() {
  local pid; pid=$(agent_pid)
  kill -STOP "$pid"
  until_true 40 another_agent_than "$pid" || why "the watchdog does not end an agent that hangs"
}
usual_watchdog() {
  rm -r /run/systemd/system/podward.service.d
  systemctl daemon-reload && systemctl restart podward
}

check "the package installs and starts its service" installs
check "systemctl start: active by notify, and answering" becomes_active
check "systemctl status is clean, systemd-analyze verify silent" status_is_clean
check "starts without containerd and finds it later" starts_without_containerd
check "an image archive is imported" image_arrives
check "pods run" pods_run
check "systemd driver by itself: slice and scope" systemd_owns_the_pods
check "limits of slice and scope (memory, cpu, pids)" limits_hold
if [ "$v2" = yes ]; then check "out of memory, a container ends as a whole" killed_as_a_whole; fi
check "limits outlive daemon-reload" limits_outlive_a_reload
# Newer systemd sets the scope's attribute by its own OOMPolicy= whenever it is reloaded: known, see docs/testing.md.
if [ "$v2" = yes ] && ! killed_as_a_whole; then report "note  daemon-reload has reset memory.oom.group: then one process is killed instead of the container"; fi
check "out of memory: OOMKilled, 137" memory_kills_are_told
check "systemctl restart podward changes no pod" unchanged systemctl restart podward
check "stop and start change no pod" unchanged stop_and_start
check "kill -9 of the agent: Restart=on-failure, no pod changes" unchanged kill_agent
check "systemctl restart containerd changes no pod, logs go on" unchanged restart_containerd
check "systemctl daemon-reexec changes no pod" unchanged systemctl daemon-reexec
check "ends are seen after all that" ends_are_seen
check "watchdog of 5 s set, no pod changes" unchanged short_watchdog
check "the watchdog spares an idle agent for 15 s" an_idle_agent_satisfies_the_watchdog
check "the watchdog ends an agent that hangs, no pod changes" unchanged stop_agent_by_signal
check "usual watchdog again" unchanged usual_watchdog
check "sets removed: no container, unit, drop-in, cgroup, mount, process" remove_all

# The other driver.

cgroupfs='containerd: {cgroupDriver: cgroupfs}'
check "cgroupfs driver: starts" configure "$cgroupfs"
check "cgroupfs driver: pods run" pods_run
check "cgroupfs driver: groups of the agent, no units" the_agent_owns_the_pods
check "cgroupfs driver: limits" limits_hold
check "cgroupfs driver: out of memory" memory_kills_are_told
check "cgroupfs driver: restart of both daemons changes no pod" unchanged restart_both
check "cgroupfs driver: nothing remains" remove_all

# From one driver to the other under pods that run.
check "driver changed under pods: pods run with cgroupfs" pods_run
check "driver changed under pods: adopted by an agent with systemd" unchanged configure '{}'
check "driver changed under pods: ends are seen" ends_are_seen
check "driver changed under pods: nothing remains" remove_all

# crun in runc's place, by the PATH of containerd and its shims.
with_crun() {
  mkdir -p /opt/crun /run/systemd/system/containerd.service.d
  ln -sf /usr/bin/crun /opt/crun/runc
  printf '[Service]\nEnvironment=PATH=/opt/crun:/usr/sbin:/usr/bin:/sbin:/bin\n' >/run/systemd/system/containerd.service.d/crun.conf
  systemctl daemon-reload && systemctl restart containerd podward && pods_run
}
if command -v crun >/dev/null; then
  report "note  $(crun --version | head -n 1)"
  check "crun: pods run" with_crun
  check "crun: slice and scope" systemd_owns_the_pods
  check "crun: out of memory" memory_kills_are_told
  check "crun: restart of both daemons changes no pod" unchanged restart_both
  check "crun: nothing remains" remove_all
  rm -r /run/systemd/system/containerd.service.d
  systemctl daemon-reload && systemctl restart containerd podward
fi

# For the second boot; one of the pods ignores SIGTERM.
pods_run_before() {
  daemon_set stubborn '{}' 'exec sleep 100000'
  pods_run && becomes_running stubborn
}
check "pods run before the reboot" pods_run_before
podward get pods -A -o json | jq -r '.items[] | [.metadata.name, .metadata.uid] | @tsv' | sort >"$state/pods"
podward get pods -A -o json | jq -r '[.items[].status.containerStatuses[].state.running.startedAt] | max' >"$state/started"
mkdir -p /var/log/journal && systemctl restart systemd-journald
no_unit_failed() { equal "failed units" "$(systemctl list-units --failed --plain --no-legend)" ""; }
check "no unit failed" no_unit_failed
