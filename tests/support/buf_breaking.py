"""Compares protos/ with the newest release: `buf breaking`. Before the first release the contract may still change."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Compares with the newest release tag, if there is one."""
    git = ["git", "-C", str(ROOT)]
    described = subprocess.run([*git, "describe", "--tags", "--abbrev=0"], capture_output=True, text=True, check=False)
    tag = described.stdout.strip()
    if not tag:
        print("buf breaking: no release to compare with")
        return 0
    buf = [str(Path(sys.executable).parent / "buf"), "breaking", str(ROOT), "--against", f"{ROOT}/.git#ref={tag}"]
    return subprocess.run(buf, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
