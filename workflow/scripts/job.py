"""What every rule runs, with the code of this clone, wherever else the package may be installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cmr.job import main

main()
