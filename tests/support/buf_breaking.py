"""Holds protos/ against what main had before: `buf breaking`. A clone without history has nothing to hold it against."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Compares with the newest release tag, else with the commit before the last one that touched protos/."""
    git = ["git", "-C", str(ROOT)]
    tag = subprocess.run([*git, "describe", "--tags", "--abbrev=0"], capture_output=True, text=True, check=False)
    against = tag.stdout.strip()
    if not against:
        log = subprocess.run([*git, "log", "--format=%H", "--", "protos"], capture_output=True, text=True, check=False)
        commits = log.stdout.split()
        if len(commits) < 2:
            print("buf breaking: no earlier contract to compare with")
            return 0
        against = commits[1]
    buf = [str(Path(sys.executable).parent / "buf"), "breaking", str(ROOT), "--against", f"{ROOT}/.git#ref={against}"]
    return subprocess.run(buf, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
