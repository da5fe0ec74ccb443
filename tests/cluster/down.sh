#!/usr/bin/env bash
# Ends what up.sh started, by its process ids, and removes the cluster's folder.
set -uo pipefail
root=${CMR_CLUSTER:-/tmp/cmr-cluster}
[ -d "$root" ] || exit 0

# SECONDS COMMAND…: waits for a command to succeed.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return
    sleep 0.2
  done
}
no_job_is_left() { [ -z "$(timeout 5 squeue --noheader)" ]; }
runs() { [[ $(ps -o stat=,comm= -p "$1" 2>/dev/null) =~ ^[^Z\ ]+\ +$2 ]]; }
ended() { ! runs "$@"; }

# Jobs first: without its daemon a job that does not stop when asked to would never be killed.
if [ "$(readlink /etc/slurm/slurm.conf)" = "$root/slurm.conf" ]; then
  timeout 20 scancel --user="$(id -un)" 2>/dev/null
  within 15 no_job_is_left 2>/dev/null
fi
for name in slurmd slurmctld slurmdbd mariadbd munged; do
  pid=$(cat "$root/run/$name.pid" 2>/dev/null) || continue
  runs "$pid" "$name" && kill "$pid"
  within 20 ended "$pid" "$name" || kill -KILL "$pid"
done
for file in slurm.conf gres.conf cgroup.conf; do
  [ "$(readlink "/etc/slurm/$file")" = "$root/$file" ] && rm "/etc/slurm/$file"
done
rm -rf "$root"
