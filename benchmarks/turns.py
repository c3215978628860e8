"""Two programs in processes that take turns: what benchmarks beside upstream share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

Run = dict[str, Any]
"""What the `worker` of a script measured."""


def programs() -> dict[str, str]:
    """Side -> its Python: ours, and upstream's where FUNASR_REFERENCE_PYTHON names it."""
    reference = os.environ.get("FUNASR_REFERENCE_PYTHON")
    return {"ours": sys.executable} | ({"reference": reference} if reference else {})


def take_turns(script: str, job: Run, sides: Mapping[str, str], rounds: int) -> list[dict[str, Run]]:
    """`rounds` times each side once: side -> what `script --worker` said of the job."""
    return [
        {side: run(script, job | {"side": side}, python) for side, python in sides.items()}
        for _ in range(rounds)
    ]


def run(script: str, job: Run, python: str) -> Run:
    """`script --worker JOB` in a fresh process of that interpreter; its last line is the answer."""
    threads = str(job["threads"])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # of ours
    command = [python, script, "--worker", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        about = job.get("task", "")
        raise SystemExit(f"{job['side']} failed {about}:\n{(done.stdout + done.stderr)[-2000:]}")
    answer: Run = json.loads(done.stdout.splitlines()[-1])
    return answer
