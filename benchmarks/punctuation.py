"""ct-punc beside the reference's: speed on one long text and on many short ones, and whether they agree.

    FUNASR_REFERENCE_PYTHON=... python benchmarks/punctuation.py MODEL_DIR [--words 10000] [--texts 200]

Each measurement is a process of its own; ours and the reference's take turns, so that a busy machine slows
both. Seconds, and processor seconds of all threads, which say more on a busy machine. Texts are words of
the model's own vocabulary, Chinese with one English word in ten.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def made_up(tokens: Sequence[str], count: int, seed: int) -> str:
    """A text of that many words."""
    rng = random.Random(seed)
    chinese = [token for token in tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]
    english = [token for token in tokens if len(token) > 1 and token.isascii() and token.isalpha()]
    return "".join(
        f" {rng.choice(english)} " if english and rng.random() < 0.1 else rng.choice(chinese)
        for _ in range(count)
    )


def measure(side: str, model: str, texts_path: str, threads: int) -> dict[str, Any]:
    """Seconds for loading, for the first text, and for the others in one call; and all results."""
    from funasr import AutoModel

    more = {"disable_update": True, "log_level": "ERROR"} if side == "reference" else {}
    long, *short = json.loads(Path(texts_path).read_text(encoding="utf-8"))
    start = now()
    punctuation = AutoModel(model=model, device="cpu", ncpu=threads, disable_pbar=True, **more)
    loaded = now()
    punctuation.generate(input=short[0])
    begun = now()
    results = punctuation.generate(input=long)
    middle = now()
    results += punctuation.generate(input=short)
    end = now()
    return {
        "load": [after - before for before, after in zip(start, loaded, strict=True)],
        "long": [after - before for before, after in zip(begun, middle, strict=True)],
        "short": [after - before for before, after in zip(middle, end, strict=True)],
        "results": [[result["text"], result["punc_array"].tolist()] for result in results],
    }


def now() -> tuple[float, float]:
    """Wall clock and processor seconds."""
    return time.perf_counter(), time.process_time()


def run(side: str, options: argparse.Namespace, texts: Path, out: Path) -> dict[str, Any]:
    python = sys.executable if side == "ours" else os.environ["FUNASR_REFERENCE_PYTHON"]
    command = [python, __file__, options.model, "--threads", str(options.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if side == "reference":
        environment.pop("PYTHONPATH", None)  # of ours
    subprocess.run(
        [*command, "--worker", side, "--texts-file", str(texts), "--out", str(out)],
        check=True,
        capture_output=True,
        env=environment,
    )
    measured: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="directory in the official layout of ct-punc")
    parser.add_argument("--words", type=int, default=10_000, help="words of the long text")
    parser.add_argument("--texts", type=int, default=200, help="short texts, of 100 words each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=["ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--texts-file", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        measured = measure(options.worker, options.model, options.texts_file, options.threads)
        options.out.write_text(json.dumps(measured), encoding="utf-8")
        return 0
    if "FUNASR_REFERENCE_PYTHON" not in os.environ:
        parser.error("FUNASR_REFERENCE_PYTHON must name a Python that has upstream FunASR")
    tokens = json.loads((Path(options.model) / "tokens.json").read_text(encoding="utf-8"))
    counts = [options.words, *[100] * options.texts]
    with TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.json"
        texts.write_text(json.dumps([made_up(tokens, n, seed) for seed, n in enumerate(counts)]))
        rounds = [
            {side: run(side, options, texts, Path(folder) / "out.json") for side in ("reference", "ours")}
            for _ in range(options.rounds)
        ]
    report(options, rounds)
    return 0


def report(options: argparse.Namespace, rounds: list[dict[str, dict[str, Any]]]) -> None:
    names = {
        "load": "load",
        "long": f"1 text of {options.words} words",
        "short": f"{options.texts} texts of 100 words, one call",
    }
    print(f"{options.model}, {options.threads} threads, {options.rounds} rounds of both in turn")
    print(f"{'':36}{'reference s':>20}{'ours s':>18}   ratio   (wall / processor; medians of the rounds)")
    for key, name in names.items():
        cells = []
        for clock in (0, 1):
            times = [(one["reference"][key][clock], one["ours"][key][clock]) for one in rounds]
            theirs, own = (statistics.median(column) for column in zip(*times, strict=True))
            cells.append((theirs, own, statistics.median(t / o for t, o in times)))
        (theirs, own, ratio), (theirs_cpu, own_cpu, ratio_cpu) = cells
        print(f"{name:36}{theirs:11.2f} /{theirs_cpu:7.2f}{own:9.2f} /{own_cpu:7.2f}", end="")
        print(f"{ratio:8.2f} /{ratio_cpu:6.2f}")
    pairs = list(zip(rounds[0]["reference"]["results"], rounds[0]["ours"]["results"], strict=True))
    labels = [pair for theirs, own in pairs for pair in zip(theirs[1], own[1], strict=True)]
    print(f"texts equal: {sum(a == b for a, b in pairs)} of {len(pairs)}", end="; ")
    print(f"labels equal: {sum(a == b for a, b in labels)} of {len(labels)}")


if __name__ == "__main__":
    sys.exit(main())
