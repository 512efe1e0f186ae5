"""All figures of the channel engine, one after the other, then the tables in README and docs.

    python -m benchmarks                        # about an hour and a half on two idle cores
    python -m benchmarks --only timing memory   # some of them

Each name is a script beside this file, which says what it measures and runs alone too. They write
JSON and a table to `benchmarks/results`; `readme.py` puts the tables into README and docs. A script
whose gate fails is named at the end; the others run all the same.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = ("timing", "memory", "partners", "fewer_passes", "norm_estimators", "pipeline")


def main() -> None:
    """Run the scripts, then `readme.py`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    chosen = parser.parse_args().only
    failed = [name for name in (*chosen, "readme") if run(name) != 0]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run(name: str) -> int:
    """The exit status of a script."""
    print(f"== {name}", flush=True)
    return subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode


if __name__ == "__main__":
    main()
