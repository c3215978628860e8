"""Kill a training at random moments, go on each time, and compare what comes out with runs left alone.

    python benchmarks/kills.py --kills 20

Every run is `funasr-train` in a process of its own, with a worker, on the sample recordings (data/README.md).
Two runs are left alone: where they differ, the mathematics library of this machine does not repeat itself,
and the killed run may differ as much. Exit status 1 where it differs more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from funasr.train.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--model", default="bundled-asr")
    parser.add_argument("--data", type=Path, default=ROOT / "data/list", help="folder of train and val.jsonl")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("settings", nargs="*", metavar="++name=value")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / name for name in ("alone", "again", "killed")]
        seconds = min(train(arguments, output) or 0.0 for output in runs[:2])
        print(f"a run left alone takes {seconds:.1f} s of training", flush=True)
        alone, apart, killed = difference(runs[0], runs[1]), 0.0, 0
        while killed < arguments.kills:
            after = rng.uniform(0.0, 0.6 * seconds)
            if train(arguments, runs[2], kill_after=after) is None:
                killed += 1
                print(f"killed {killed}: {after:.1f} s after training began, {latest(runs[2])}", flush=True)
            else:
                apart = max(apart, difference(runs[0], runs[2]))
                shutil.rmtree(runs[2])
                print("it came to its end first; begun anew", flush=True)
        train(arguments, runs[2])
        apart = max(apart, difference(runs[0], runs[2]))
    print(f"two runs left alone differ by {alone:g}, one killed {killed} times by {apart:g}")
    return int(apart > alone)


def train(arguments: argparse.Namespace, output: Path, *, kill_after: float | None = None) -> float | None:
    """Seconds from the first batch to the end; None where it was killed."""
    command = [
        sys.executable,
        "-m",
        "funasr.bin.train",
        f"++model={arguments.model}",
        f"++output_dir={output}",
    ]
    command += [f"++train_data_set_list={arguments.data / 'train.jsonl'}"]
    command += [f"++valid_data_set_list={arguments.data / 'val.jsonl'}"]
    command += ["++device=cpu", f"++train_conf.max_epoch={arguments.epochs}", "++train_conf.log_interval=1"]
    command += ["++train_conf.save_checkpoint_interval=3", "++train_conf.validate_interval=5"]
    command += ["++train_conf.keep_nbest_models=3", "++train_conf.use_tensorboard=false"]
    command += [
        "++dataset_conf.num_workers=1",
        "++dataset_conf.batch_type=example",
        "++dataset_conf.batch_size=4",
    ]
    command += ["++dataset_conf.preprocessor_speech=SpeechPreprocessSpeedPerturb"]
    command += ["++dataset_conf.preprocessor_speech_conf.speed_perturb=[0.9,1.0,1.1]"]
    command += ["++optim_conf.lr=0.001", "++scheduler_conf.warmup_steps=10", *arguments.settings]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=settings, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    began, said = None, []
    for text in process.stdout:
        said.append(text)
        if began is None and "- train, rank: 0" in text:
            began = time.perf_counter()
            if kill_after is not None:
                time.sleep(kill_after)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    if code == -signal.SIGKILL:
        return None
    if code != 0:
        sys.exit("".join(said[-20:]))
    return time.perf_counter() - (began or time.perf_counter())


def latest(output: Path) -> str:
    path = output / "model.pt"
    if not path.is_file():
        return "before the first checkpoint"
    state = load_checkpoint(path)
    drafts = [draft.name for draft in output.glob("*.tmp")]
    return f"after the checkpoint of batch {state['batch_total']}" + (
        f", in writing {drafts[0]}" if drafts else ""
    )


def difference(one: Path, other: Path) -> float:
    """The largest, over all weights of the last checkpoint and of the mean of the best."""
    largest = 0.0
    for name in ("model.pt", "model.pt.avg10"):
        states = [load_checkpoint(folder / name)["state_dict"] for folder in (one, other)]
        for key, tensor in states[0].items():
            if not torch.equal(tensor, states[1][key]):
                largest = max(largest, float((tensor.double() - states[1][key].double()).abs().max()))
    return largest


if __name__ == "__main__":
    sys.exit(main())
