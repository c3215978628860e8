"""Seconds that `import funasr` takes in a fresh process: the best and the median of several.

python benchmarks/import_time.py [runs]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

LINES = ("pass", "import funasr", "import funasr_onnx", "import funasr; funasr.AutoModel")
CLOCK = "import time; start = time.perf_counter()\n{}\nprint(time.perf_counter() - start)"


def seconds(line: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", CLOCK.format(line)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    for line in LINES:
        times = [seconds(line) for _ in range(runs)]
        print(f"{line:35} best {min(times):.4f} s   median {statistics.median(times):.4f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
