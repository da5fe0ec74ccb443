#!/usr/bin/env bash
# A SLURM cluster of one node on this machine: accounting, two partitions, an account, two pretend GPUs.
# Debian's packages; needs root. Typed again it starts what does not run. down.sh ends it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${CMR_CLUSTER:-/tmp/cmr-cluster}
node=$(hostname -s)
export SLURM_CONF=$root/slurm.conf
"$here/install.sh"

# Jobs are started without SLURM_CONF, so the usual place must lead to this cluster, and to no other.
for file in slurm.conf gres.conf cgroup.conf; do
  link=/etc/slurm/$file
  if [ -e "$link" ] && [ "$(readlink "$link")" != "$root/$file" ]; then
    echo "$link belongs to another cluster: end that one first" >&2
    exit 1
  fi
done

mkdir -p "$root"/{state,spool,log,run,database} /etc/slurm
chmod 755 "$root"

# until SECONDS COMMAND…: waits for a command to succeed.
until_ok() {
  local seconds=$1
  shift
  for _ in $(seq $((seconds * 5))); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  echo "gave up waiting for: $*; see $root/log" >&2
  exit 1
}
# A killed daemon that its parent has not asked for yet (Z, and named `slurmd <defunct>`) does not run.
runs() { [[ $(ps -o stat=,comm= -p "$(cat "$root/run/$1.pid" 2>/dev/null)" 2>/dev/null) =~ ^[^Z\ ]+\ +$1 ]]; }

# Pretend GPUs: character devices like /dev/null. More cores than the machine has, so that GPUs are what is scarce.
gpus=${CMR_GPUS:-2}
for i in $(seq 0 $((gpus - 1))); do
  [ -e "$root/gpu$i" ] || mknod -m 666 "$root/gpu$i" c 1 3
done
memory=$(awk '/MemTotal/ {print int($2 / 1024) - 1024}' /proc/meminfo)
fill() {
  sed -e "s|@root@|$root|g; s|@node@|$node|g; s|@memory@|$memory|g; s|@gpus@|$gpus|g" \
    -e "s|@cores@|${CMR_CORES:-8}|g; s|@last@|$((gpus - 1))|g" "$here/$1" >"$root/$1"
}
fill slurm.conf
fill gres.conf
fill slurmdbd.conf
chmod 600 "$root/slurmdbd.conf"
echo "CgroupAutomount=no" >"$root/cgroup.conf"
for file in slurm.conf gres.conf cgroup.conf; do ln -sfn "$root/$file" "/etc/slurm/$file"; done

if ! munge --no-input >/dev/null 2>&1; then
  install -d -o munge -g munge /run/munge /var/log/munge /var/lib/munge
  setpriv --reuid=munge --regid=munge --clear-groups munged --pid-file=/run/munge/cmr.pid
  ln -sfn /run/munge/cmr.pid "$root/run/munged.pid"
fi

sql() { mariadb --no-defaults --socket="$root/run/sql.sock" "$@"; }
if ! runs mariadbd; then
  chown -R mysql:mysql "$root/database" && chmod 777 "$root/run" "$root/log"
  if [ ! -d "$root/database/mysql" ]; then
    mariadb-install-db --no-defaults --user=mysql --datadir="$root/database" --skip-test-db >/dev/null
  fi
  setsid mariadbd --no-defaults --user=mysql --datadir="$root/database" --socket="$root/run/sql.sock" \
    --pid-file="$root/run/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M \
    --innodb-lock-wait-timeout=900 --log-error="$root/log/mariadbd.log" </dev/null >/dev/null 2>&1 &
fi
until_ok 60 sql -e "SELECT 1"
sql -e "CREATE DATABASE IF NOT EXISTS slurm; GRANT ALL ON slurm.* TO root@localhost;"

runs slurmdbd || MYSQL_UNIX_PORT=$root/run/sql.sock slurmdbd
until_ok 60 sacctmgr --noheader show cluster
named() { sacctmgr --noheader --parsable2 show "$1" format="$1" | grep -qx "$2"; }
named cluster cmr || sacctmgr --immediate add cluster cmr >/dev/null
named account lab || sacctmgr --immediate add account lab Cluster=cmr >/dev/null
for user in root "$@"; do
  sacctmgr --noheader --parsable2 show associations user="$user" format=account | grep -qx lab ||
    sacctmgr --immediate add user "$user" Account=lab >/dev/null
done
for qos in brief cards; do
  sacctmgr --noheader --parsable2 show qos format=name | grep -qx "$qos" ||
    sacctmgr --immediate add qos "$qos" MaxSubmitJobsPerUser=1000 >/dev/null
done
sacctmgr --immediate modify account lab set qos=normal,brief,cards >/dev/null || true # it has them: nothing modified

runs slurmctld || slurmctld
until_ok 60 scontrol ping
runs slurmd || slurmd
node_is_up() {
  scontrol update NodeName="$node" State=RESUME >/dev/null 2>&1
  [[ $(sinfo --noheader --format=%T) =~ ^(idle|mixed|allocated) ]]
}
until_ok 60 node_is_up
sinfo --Node --format="%N %P %T cores=%c memory=%m %G"
