#!/usr/bin/env bash
# Ends what up.sh started, by its process ids, and removes the cluster's folder.
set -uo pipefail
root=${CMR_CLUSTER:-/tmp/cmr-cluster}
[ -d "$root" ] || exit 0
[ "$(readlink /etc/slurm/slurm.conf)" = "$root/slurm.conf" ] && scancel --full --user="$(id -un)" 2>/dev/null
sleep 1
for name in slurmd slurmctld slurmdbd mariadbd munged; do
  pid=$(cat "$root/run/$name.pid" 2>/dev/null) || continue
  kill "$pid" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
done
for file in slurm.conf gres.conf cgroup.conf; do
  [ "$(readlink "/etc/slurm/$file")" = "$root/$file" ] && rm "/etc/slurm/$file"
done
rm -rf "$root"
