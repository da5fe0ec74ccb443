import os
import sys

# With `python -m` Python looks for modules first in the folder that one stands in, which may be somebody's results.
if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from cmr.cli import main

if __name__ == "__main__":
    main()
