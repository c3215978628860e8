"""A training step against upstream's: seconds, processor seconds and memory, in processes that take turns.

    python benchmarks/training.py --models DIR [--size tiny] [--size full] [--threads 2] [--rounds 3] [--bf16]

DIR holds the random model directories `paraformer-tiny` and `paraformer-full` (or the released one under that
name). FUNASR_REFERENCE_PYTHON names a Python with upstream installed; without it only ours runs. The batch is
two utterances of 10 s with 45 tokens each. A step is forward, backward, clipping and Adam: ours as the
trainer does it, upstream's by its own module (its trainer does not run on a CPU) with torch's defaults. Each
run is a fresh process; a ratio is the median over rounds of upstream's seconds by ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from turns import programs, take_turns

SECONDS, TOKENS = 10, 45
ROWS = 167
STEPS = {"tiny": 40, "full": 3}
WARMING = 3
"""Steps before the clock starts: in the first ones memory is still found."""


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """One run, in the process of one of the two programs. What `funasr` is depends on the interpreter."""
    import torch

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    directory = Path(job["directory"])
    vocab = len(json.loads((directory / "tokens.json").read_text()))
    features, lengths = torch.randn(2, ROWS, 560), torch.tensor([ROWS, ROWS])
    targets, counts = torch.randint(3, vocab - 1, (2, TOKENS)), torch.tensor([TOKENS, TOKENS])
    make = our_step if job["side"] == "ours" else upstream_step
    step = make(job, (features, lengths, targets, counts))
    torch.set_num_threads(job["threads"])
    losses = [step() for _ in range(WARMING)]
    walls, processor = [], time.process_time()
    for _ in range(job["steps"]):
        begin = time.perf_counter()
        losses.append(step())
        walls.append(time.perf_counter() - begin)
    return {
        "seconds": statistics.median(walls),
        "processor": (time.process_time() - processor) / job["steps"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loss": losses[0],
    }


def our_step(job: dict[str, Any], tensors: Sequence[Any]) -> Callable[[], float]:
    import torch

    from funasr import registry
    from funasr.modeldir import ModelDir
    from funasr.models.paraformer.loss import ParaformerLoss
    from funasr.nn.weights import load_weights
    from funasr.train.config import TrainConfig
    from funasr.train.criteria import SpeechCriterion
    from funasr.train.data import Batch
    from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
    from funasr.train.sampler import SamplerConfig
    from funasr.train.trainer import Trainer

    opened = ModelDir.open(job["directory"])
    vocab = len(json.loads((Path(job["directory"]) / "tokens.json").read_text()))
    network = registry.lookup(registry.MODELS, opened.model).from_official(opened.config, vocab, 560)
    load_weights(network, opened.require_weights())
    optimizer = build_optimizer(OptimConfig(lr=1e-5), network.parameters())
    trainer = Trainer(
        network,
        SpeechCriterion(ParaformerLoss(network.config)),
        optimizer,
        build_scheduler(ScheduleConfig(warmup_steps=1), optimizer),
        TrainConfig(grad_clip=5.0, log_interval=1_000_000, use_bf16=job["bf16"]),
        SamplerConfig(),
        Path(job["folder"]),
    )
    features, lengths, targets, counts = tensors
    batch = Batch(keys=("a", "b"), features=features, lengths=lengths, targets=targets, target_lengths=counts)
    trainer.logbook.watch.start()
    assert torch.is_grad_enabled()
    return lambda: float(trainer.step(batch)["loss"])


def upstream_step(job: dict[str, Any], tensors: Sequence[Any]) -> Callable[[], float]:
    import torch

    from funasr import AutoModel

    options = {"device": "cpu", "ncpu": job["threads"], "disable_update": True, "log_level": "ERROR"}
    model = AutoModel(model=job["directory"], disable_pbar=True, **options).model.train()
    model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)

    def step() -> float:
        loss, _, _ = model(*tensors)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


def report(size: str, rounds: Sequence[dict[str, dict[str, Any]]]) -> None:
    """One size's medians, and their ratio where both sides ran."""
    for side in rounds[0]:
        runs = [one[side] for one in rounds]
        wall, processor = (statistics.median(r[key] for r in runs) for key in ("seconds", "processor"))
        peak = max(r["peak_mb"] for r in runs)
        print(
            f"{size:5} {side:10} {1000 * wall:8.1f} ms a step {1000 * processor:8.1f} processor ms "
            f"{2 * SECONDS / wall:7.1f} s of sound a second {peak:6.0f} MB peak  loss {runs[0]['loss']:.3f}"
        )
    if "reference" in rounds[0]:
        wall, processor = (
            statistics.median(one["reference"][key] / one["ours"][key] for one in rounds)
            for key in ("seconds", "processor")
        )
        print(f"{size:5} ratio      {wall:8.2f}           {processor:8.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--size", action="append", choices=tuple(STEPS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each run; the default depends on the size")
    parser.add_argument("--bf16", action="store_true", help="ours with train_conf.use_bf16")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print(json.dumps(worker(json.loads(options.worker))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for size in options.size or ("tiny", "full"):
            job = {
                "directory": str((options.models / f"paraformer-{size}").resolve()),
                "threads": options.threads,
                "steps": options.steps or STEPS[size],
                "bf16": options.bf16,
                "folder": folder,
            }
            rounds = take_turns(__file__, job, programs(), options.rounds)
            report(size, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
