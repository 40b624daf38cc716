#!/bin/bash
# The checks that run inside a test guest (scripts/test-vm), as root under systemd. Each reports one line:
# `ok`, `FAIL` or `note`, its name, the seconds that it took, and for a failure why. The last line is `done`.
set -u
. /payload/words.sh
mkdir -p "$state"

if [ ! -e "$state/rebooted" ]; then
  . /payload/first-boot.sh
  touch "$state/rebooted"
  date +%s >"$state/reboot-asked"
  sync
  systemctl reboot
else
  . /payload/second-boot.sh
  report "done"
  sync
  systemctl poweroff -ff
fi
