#!/usr/bin/env bash
# SLURM and what it needs, from Debian's packages. Where that cannot be, says why in one line and fails.
set -uo pipefail
fail() {
  echo "no SLURM for tests here: $1" >&2
  exit 1
}
packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server)
[ "$(id -u)" = 0 ] || fail "its daemons need root"
command -v apt-get >/dev/null || fail "its packages are Debian's, and there is no apt-get"
dpkg -s "${packages[@]}" >/dev/null 2>&1 && exit 0
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
timeout 120 apt-get update -qq >"$log" 2>&1 || fail "apt-get update: $(tail -n 1 "$log")"
timeout 300 apt-get install -qq -y --no-install-recommends "${packages[@]}" >"$log" 2>&1 ||
  fail "apt-get install: $(tail -n 1 "$log")"
