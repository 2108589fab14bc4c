"""`python -m tests.rush.program MODE server|workers`: the program, sabotaged.

The worker processes import this module, too, and so are sabotaged as their supervisor is.
"""

import os
import sys
from importlib import import_module

from tests.rush.sabotage import MODES

if __name__ == "__main__":
    os.environ["RUSH_SABOTAGE"], name = sys.argv[1:]
    del sys.argv[1:]
    MODES[os.environ["RUSH_SABOTAGE"]].apply()
    sys.exit(import_module(f"{name}.__main__").main())
else:
    MODES[os.environ["RUSH_SABOTAGE"]].apply()
