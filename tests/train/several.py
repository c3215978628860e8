"""Run by torchrun in test_distributed.py: a few updates of a tiny recognizer, in several processes.

What each of them saw goes to the output directory.

several.py OUTPUT ddp|fsdp EPOCHS [die]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from funasr.train.checkpoint import Progress
from funasr.train.distributed import joined
from tests.train.tiny_run import Tones, quiet_trainer


def main() -> None:
    output, kind, epochs, *more = sys.argv[1:]
    torch.set_num_threads(1)
    with joined() as ranks:
        trainer = quiet_trainer(Path(output), max_epoch=int(epochs), use_fsdp=kind == "fsdp")
        marker = Path(output) / "died"

        def once(progress: Progress, steps: int) -> None:
            if more and progress.batch_total == 5 and ranks.rank == 1 and not marker.exists():
                marker.touch()
                os._exit(1)  # as if killed; torchrun starts all of them again

        trainer._on_step = once
        trainer.run(Tones(24), Tones(7))
        seen = {"val_loss": trainer.progress.val_loss, "updates": trainer.progress.updates}
        (Path(output) / f"seen{ranks.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
