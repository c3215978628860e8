"""What the console scripts call. Ctrl-C while a command still loads is one line, as it is later."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable


def _command(name: str, module: str, function: str = "main") -> Callable[[], int]:
    def start() -> int:
        try:
            status: int = getattr(importlib.import_module(f"funasr.bin.{module}"), function)()
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return 130
        return status

    return start


funasr = _command("funasr", "inference")
live = _command("funasr-live", "live")
train = _command("funasr-train", "train")
train_ds = _command("funasr-train-ds", "train_ds")
data = _command("funasr-data", "data")
export = _command("funasr-export", "export")
evaluate = _command("funasr-eval", "evaluate")
scp2jsonl = _command("scp2jsonl", "manifest", "scp2jsonl")
jsonl2scp = _command("jsonl2scp", "manifest", "jsonl2scp")
