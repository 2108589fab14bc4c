"""`python -m tests.rush.program MODE server|workers`: the sabotaged program.

Worker processes import this module too, so they are sabotaged like their supervisor.
"""

import os
import sys
from importlib import import_module

from tests.rush.sabotage import sabotage

if __name__ == "__main__":
    os.environ["RUSH_SABOTAGE"], name = sys.argv[1:]
    del sys.argv[1:]
    sabotage(os.environ["RUSH_SABOTAGE"]).apply()
    sys.exit(import_module(f"{name}.__main__").main())
else:
    sabotage(os.environ["RUSH_SABOTAGE"]).apply()
