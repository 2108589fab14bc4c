"""`python -m tests.faults.skewed_server MINUTES`: a server on a machine whose clock is that far off."""

import sys
from datetime import datetime, timedelta, tzinfo

from server.__main__ import main

_OFF = timedelta(minutes=float(sys.argv.pop()))


class _Skewed(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_Skewed":
        return super().now(tz) + _OFF


if __name__ == "__main__":
    for name, module in list(sys.modules.items()):
        if name.startswith(("server.", "antrian.")) and getattr(module, "datetime", None) is datetime:
            module.datetime = _Skewed  # type: ignore[attr-defined]
    sys.exit(main())
