"""Does training learn Mandarin? A small recognizer on two speakers, tested on a tenth that it never saw.

    python benchmarks/learning.py --data ../shared/data --out /tmp/learning [--epochs 12]

DATA/asr/aishell_sample has wav.scp and text.txt (756 utterances, 55 minutes). Every tenth is kept out. The
network has the sizes of the bundled recognizer and begins with its encoder, which heard English words; its
vocabulary, decoder and output are new. Everything goes through `funasr-train` and `funasr-eval`, as a user's
own data would. Prints the CER after the first epoch and at the end. Two speakers and an hour make no
recognizer: figures are here to see that it learns, and whether a change of the trainer makes it learn less.

Measured, one thread of an Intel Xeon: 40 s of processor time an epoch; CER 101 % after the first (it says one
character over and over), 83 % after the sixth, 74 % after the twelfth (75 % the mean of the best three).
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from funasr import AutoModel
from funasr.bin.train import main as funasr_train
from funasr.config import load_yaml
from funasr.train.evaluation import Evaluation, evaluate, read_test_set
from funasr.train.manifest import Joined, Record, measured, write_records

START = Path(__file__).resolve().parents[1] / "funasr/bundled/paraformer-words-en"
TENTH = 10


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    records = read_corpus(arguments.data / "asr" / "aishell_sample")
    held_back = records[::TENTH]
    write_records(out / "val.jsonl", held_back)
    write_records(out / "train.jsonl", [one for place, one in enumerate(records) if place % TENTH])
    write_start(out / "start", records)
    began = time.process_time()
    status = funasr_train(
        [
            f"++model={out / 'start'}",
            f"++init_param={START / 'model.pt'}",
            "++excludes=decoder.embed,decoder.output_layer",
            f"++train_data_set_list={out / 'train.jsonl'}",
            f"++valid_data_set_list={out / 'val.jsonl'}",
            f"++output_dir={out / 'exp'}",
            "++device=cpu",
            f"++train_conf.max_epoch={arguments.epochs}",
            f"++train_conf.keep_nbest_models={arguments.epochs}",
            "++train_conf.avg_nbest_model=3",
            "++dataset_conf.batch_size=2000",
            "++optim=adamw",
            "++optim_conf.lr=0.001",
            "++scheduler_conf.warmup_steps=300",
        ]
    )
    if status:
        return status
    print(f"\n{time.process_time() - began:.0f} s of processor time for {arguments.epochs} epochs")
    for name in ("model.pt.ep1", f"model.pt.ep{arguments.epochs}", "model.pt.avg3"):
        result = heard(out, name)
        errors = result.errors
        print(
            f"{name:<14} CER {errors.rate:7.2%} of {errors.units}: {errors.substitutions} substituted, "
            f"{errors.deletions} deleted, {errors.insertions} inserted"
        )
    for one in result.scored[::8]:
        print(f"    {one.reference.text} > {one.heard}")
    return 0


def read_corpus(folder: Path) -> list[Record]:
    """Records with lengths. The corpus parts words by blanks; characters are what is learnt here."""
    texts = dict(line.split(maxsplit=1) for line in (folder / "text.txt").read_text("utf-8").splitlines())
    records: list[Record] = []
    for line in (folder / "wav.scp").read_text("utf-8").splitlines():
        key, path = line.split(maxsplit=1)
        text = "".join(texts[key].split())
        records.append({"key": key, "source": str((folder / path).resolve()), "target": text})
    return list(measured(Joined(records=tuple(records))).records)


def write_start(folder: Path, records: Sequence[Record]) -> None:
    """A model directory without weights: settings, vocabulary, feature statistics."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = sorted({char for record in records for char in record["target"]})
    tokens = ["<blank>", "<s>", "</s>", *characters, "<unk>"]
    (folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    config = load_yaml(START / "config.yaml")
    config["tokenizer_conf"] = {"unk_symbol": "<unk>", "split_with_space": False}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    shutil.copyfile(START / "am.mvn", folder / "am.mvn")


def heard(out: Path, weights: str) -> Evaluation:
    """The held-back tenth, by one of the checkpoints."""
    model = AutoModel(
        model=str(out / "exp"), init_param=str(out / "exp" / weights), device="cpu", disable_pbar=True
    )
    return evaluate(read_test_set([out / "val.jsonl"]).references, model.transcribe)


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.WARNING)
    sys.exit(main())
