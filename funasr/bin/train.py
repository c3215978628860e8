"""`funasr-train ++model=... ++train_data_set_list=... ++valid_data_set_list=... ++output_dir=...`

Every setting of the model's config.yaml can be changed as `++name=value`. Exit status: 0 all is well; 1
`--check` found lines that cannot be learnt from; 2 the command, the model or the data is wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from funasr import hub
from funasr.bin.data import tell
from funasr.bin.report import make_report
from funasr.config import load_yaml, merge, parse_overrides
from funasr.errors import FunASRError, OptionError
from funasr.modeldir import ModelDir
from funasr.train.report import note_start

REQUIRED = ("train_data_set_list", "valid_data_set_list", "output_dir")
HELP = (
    "funasr-train ++model=paraformer-zh ++train_data_set_list=train.jsonl ++valid_data_set_list=val.jsonl "
    "++output_dir=exp"
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="funasr-train", allow_abbrev=False, epilog=f"example: {HELP}")
    parser.add_argument("--config-path", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--config-name", metavar="FILE", help="a recipe; its settings go before ++name=value")
    parser.add_argument("--check", action="store_true", help="look at every example of the data, and stop")
    parser.add_argument(
        "--report",
        action="store_true",
        help="afterwards, error rates before and after on the validation set; with a directory, of that run",
    )
    parser.add_argument("settings", nargs="*", metavar="++name=value")
    known, rest = parser.parse_known_args(argv)
    overrides = [*known.settings, *rest]
    try:
        if known.report and len(overrides) == 1 and "=" not in overrides[0]:
            print(make_report(Path(overrides[0])))
            return 0
        return _train(_settings(known, overrides), check_only=known.check, report=known.report)
    except FunASRError as error:
        print(f"funasr-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-train: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _settings(known: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    base: dict[str, Any] = {}
    if known.config_name is not None:
        path = known.config_path / known.config_name
        base = load_yaml(path if path.suffix else path.with_suffix(".yaml"))
    settings = merge(base, parse_overrides(overrides))
    for name in ("model", *REQUIRED):
        if not settings.get(name):
            raise OptionError(f"no ++{name}=... given. Example: {HELP}")
    return settings


def _train(settings: dict[str, Any], *, check_only: bool, report: bool = False) -> int:
    from funasr.auto.build import build_frontend, build_tokenizer, choose_device
    from funasr.train.recipe import Recipe
    from funasr.train.run import check_data, run

    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
    )
    report = bool(settings.pop("report", False)) or report
    name = str(settings.pop("model"))
    device = str(settings.pop("device", "auto"))
    path = hub.resolve(
        name, hub=str(settings.pop("hub", "ms")), revision=settings.pop("model_revision", None)
    )
    directory = ModelDir.open(path, settings)
    recipe = Recipe.of(directory)
    tokenizer, frontend = build_tokenizer(directory), build_frontend(directory)
    data = check_data(recipe, tokenizer, open_sounds=check_only)
    for kind, found in (("train", data.train), ("valid", data.valid)):
        if check_only:
            tell(found)
        else:
            for line in found.summary():
                logging.getLogger("funasr-train").info("%s: %s", kind, line)
    if check_only:
        return 1 if data.train.faults or data.valid.faults else 0
    first = os.environ.get("RANK", "0") == "0"
    if first:
        note_start(recipe.output, directory)
    run(recipe, data, tokenizer, frontend, choose_device(device))
    if report and first:
        print(make_report(recipe.output, device=device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
