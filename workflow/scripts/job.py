"""What every rule runs: with the package that this file belongs to, wherever else another one may be installed."""

import sys
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[1]  # in a clone; an installed package has it in cmr/project
sys.path.insert(0, str(WORKFLOW if (WORKFLOW / "cmr").exists() else WORKFLOW.parents[2]))

from cmr.job import main

main()
