"""`python -m tests.rush.program server|workers`: the program, sabotaged as RUSH_SABOTAGE says.

The worker processes import this module, too, and so are sabotaged as their supervisor is.
"""

import os
import sys

from tests.rush.sabotage import MODES

MODES[os.environ["RUSH_SABOTAGE"]].apply()

if __name__ == "__main__":
    if sys.argv.pop() == "server":
        from server.__main__ import main
    else:
        from workers.__main__ import main
    sys.exit(main())
