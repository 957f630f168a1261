"""`make bench`: every speed figure, one after the other, each with what it is compared with in the same run."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def main(names: list[str]) -> None:
    """Run the named benchmarks (bench_NAME.py), or all of them."""
    print(f"# {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for path in sorted(HERE.glob("bench_*.py")):
        if not names or path.stem.removeprefix("bench_") in names:
            print(f"\n## {path.stem.removeprefix('bench_')}", flush=True)
            # A process each: threads that one sets, and memory that it took, are not the next one's.
            subprocess.run([sys.executable, "-m", f"benchmarks.{path.stem}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
