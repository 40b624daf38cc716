# shellcheck shell=bash
# The second boot, from the disk that the first one left. Sourced by checks.sh.

pods_are_back() {
  local name
  until_true 60 active || { why "podward is not active: $(systemctl status podward 2>&1 | head -5)"; return; }
  for name in limited best; do becomes_running "$name" 90 || return; done
  equal "pods" "$(podward get pods -A -o json | jq -r '.items[] | [.metadata.name, .metadata.uid] | @tsv' | sort)" "$(cat "$state/pods")" || return
  [[ "$(field best '.status.containerStatuses[0].state.running.startedAt')" > "$(cat "$state/started")" ]] || why "started before the reboot"
}
one_task_each() { equal "tasks" "$(ctr -n podward tasks ls -q | wc -l)" 2 && equal "containers" "$(ctr -n podward containers ls -q | wc -l)" 2; }

# The host went down quickly: nothing of a pod may hold it up.
went_down_quickly() {
  local asked ended
  asked=$(cat "$state/reboot-asked")
  ended=$(journalctl -b -1 -n 1 -o json | jq -r '.__REALTIME_TIMESTAMP | tonumber / 1000000 | floor')
  report "note  the shutdown took $((ended - asked)) s"
  [ $((ended - asked)) -lt 45 ] || why "the shutdown took $((ended - asked)) s: $(journalctl -b -1 -n 30 -o cat | grep -i 'timed out\|killing')"
}
# An agent that sees its pods end because the host goes down must not start them again.
nothing_started_on_the_way_down() {
  local said
  said=$(journalctl -b -1 -u podward -o cat --since "@$(cat "$state/reboot-asked")")
  ! grep -qiE 'error|panic|failed' <<<"$said" || why "$said"
}
purges() {
  local said
  said=$(dpkg --purge podward 2>&1) || { why "$said"; return; }
  equal "files" "$(find /etc/podward /var/lib/podward /run/podward /usr/bin/podward /usr/lib/systemd/system/podward* 2>/dev/null | head -5)" "" || return
  equal "units" "$(systemctl list-units --all --plain --no-legend 'podward*')" ""
}

check "reboot: the same pods run again" pods_are_back
check "reboot: each once" one_task_each
check "reboot: limits" limits_hold
check "reboot: the host went down quickly" went_down_quickly
check "reboot: the agent went down without a complaint" nothing_started_on_the_way_down
check "reboot: nothing remains" remove_all
check "the package can be purged" purges
