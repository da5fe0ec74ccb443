#!/usr/bin/env bash
# The tests of this folder on a SLURM that is started for them, and ended whatever happens. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
trap tests/cluster/down.sh EXIT
trap 'exit 143' TERM INT
tests/cluster/up.sh
.venv/bin/python -m pytest tests/cluster "$@"
