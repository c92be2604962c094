"""`python -m tprune_runtime check DIR`: one line a check; ends with 0 if all passed, with 1 if not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tprune_runtime.check import check


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; wrong arguments end the process with 2."""
    parser = argparse.ArgumentParser("tprune_runtime", description="Checks a bundle on the machine that will run it.")
    verb = parser.add_subparsers(required=True).add_parser("check", help="replay the golden outputs of a bundle")
    verb.add_argument("folder", type=Path, help="of the bundle: it holds manifest.json")
    verb.add_argument("--threads", type=int, default=1, help="of one operation (default: 1)")
    given = parser.parse_args(arguments)
    done = failed = 0
    for line in check(given.folder, max(1, given.threads)):
        done, failed = done + 1, failed + (not line.passed)
        print(f"{'ok    ' if line.passed else 'FAILED'} {line.text}", flush=True)
    print(f"{given.folder}: {f'{failed} of {done} checks failed' if failed else f'{done} checks passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
