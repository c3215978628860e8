"""`funasr-train ++model=... ++train_data_set_list=... ++valid_data_set_list=... ++output_dir=...`

Several processes: `torchrun --nproc_per_node 2 funasr/bin/train.py` and the same arguments.

Every setting of the model's config.yaml can be changed as `++name=value`. Exit status: 0 all is well; 1
`--check` found lines that cannot be learnt from; 2 the command, the model or the data is wrong.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, as torchrun does: the files beside it are no packages, and funasr is one
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from funasr import hub
from funasr.bin.arguments import SettingsParser
from funasr.bin.data import tell
from funasr.bin.progress import progress_of_training
from funasr.bin.report import make_report, require_report
from funasr.config import load_yaml, merge, parse_overrides, typed, typed_names
from funasr.errors import FunASRError, MissingDependencyError, OptionError, install_extra
from funasr.modeldir import ModelDir
from funasr.train.kinds import SPEECH, kind_for
from funasr.train.report import note_start

SHARED = ("use_fsdp", "use_deepspeed", "deepspeed_config")
"""Settings that may stand outside of train_conf."""
LISTS = ("train_data_set_list", "valid_data_set_list")
REQUIRED = (*LISTS, "output_dir")
HELP = (
    "funasr-train ++model=paraformer-zh ++train_data_set_list=train.jsonl ++valid_data_set_list=val.jsonl "
    "++output_dir=exp"
)

EPILOG = f"""\
settings:
  ++model=NAME                  what to begin with: alias, hub id or directory; a class, with a
                                recipe, to begin from scratch
  ++train_data_set_list=FILE    a .jsonl of scp2jsonl, or a file with the paths of such files
  ++valid_data_set_list=FILE    the same, of recordings that are not learnt from
  ++output_dir=DIR              checkpoints, logs, and at the end a model directory
  ++train_conf.max_epoch=50     ++train_conf.keep_nbest_models=10   ++train_conf.avg_nbest_model=10
  ++dataset_conf.batch_size=N   frames of 10 ms; utterances with ++dataset_conf.batch_type=example
  ++optim_conf.lr=0.0002        ++scheduler_conf.warmup_steps=1000
  ++device=auto                 ++hub=ms   ++model_revision=TAG
  ++remote_code=FILE.py         training code of one's own, with ++trust_remote_code=true
All others are those of the model's config.yaml; docs/training.md has them.

example: {HELP}
several processes: torchrun --nproc_per_node 2 funasr/bin/train.py ++model=... and so on
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = SettingsParser("funasr-train", "Train a model, or go on with a run that ended.", EPILOG)
    parser.add_argument(
        "--config-path",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where --config-name is (default: here)",
    )
    parser.add_argument("--config-name", metavar="FILE", help="a recipe; its settings go before ++name=value")
    parser.add_argument("--check", action="store_true", help="look at every example of the data, and stop")
    parser.add_argument(
        "--report",
        action="store_true",
        help="afterwards, error rates before and after on the validation set; with a directory, of that run",
    )
    try:
        known, overrides = parser.read(argv)
        if known.report and len(overrides) == 1 and "=" not in overrides[0]:
            print(make_report(Path(overrides[0])))
            return 0
        settings = _settings(known, overrides)
        asked = merge(_recipe(known), typed(parse_overrides(overrides)))
        return _train(settings, asked, check_only=known.check, report=known.report)
    except FunASRError as error:
        print(f"funasr-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-train: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _settings(known: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    settings = merge(_recipe(known), parse_overrides(overrides))
    # Whether code makes the data is known when it was imported.
    _require(settings, ("model", "output_dir") if settings.get("remote_code") else ("model", *REQUIRED))
    outside = {name: settings.pop(name) for name in SHARED if name in settings}
    settings.pop("use_ddp", None)  # is what several processes do without use_fsdp
    return merge(settings, {"train_conf": outside}) if outside else settings


def _require(settings: dict[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if not settings.get(name):
            raise OptionError(f"no ++{name}=... given. Example: {HELP}")


def _recipe(known: argparse.Namespace) -> dict[str, Any]:
    """What --config-name says; nothing without it. Its remote_code lies beside it."""
    if known.config_name is None:
        return {}
    path = known.config_path / known.config_name
    path = path if path.suffix else path.with_suffix(".yaml")
    if not path.is_file():
        raise OptionError(f"no recipe {str(path)!r}: --config-name is a .yaml file in --config-path")
    settings = load_yaml(path)
    code = settings.get("remote_code")
    if code and "://" not in str(code):
        settings["remote_code"] = str(path.parent / str(code))
    return settings


def _train(settings: dict[str, Any], asked: dict[str, Any], *, check_only: bool, report: bool = False) -> int:
    from funasr.auto.torch_network import choose_device, has_torch

    if not has_torch():
        raise MissingDependencyError("torch", "training", install_extra("train"))
    from funasr.train.distributed import joined
    from funasr.train.logbook import LOG_FORMAT
    from funasr.train.own import own_training
    from funasr.train.recipe import Recipe, refuse_unknown
    from funasr.train.run import check_data, open_parts, run
    from funasr.train.scratch import from_scratch, is_class
    from funasr.train.typed import check_typed

    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format=LOG_FORMAT)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its fonts
    report = bool(settings.pop("report", False)) or report
    own = own_training(settings)
    listed = own is None or not own.changed("data")
    if listed:
        _require(settings, LISTS)
    elif check_only or report:
        raise OptionError("--check and --report read lists, and remote_code makes the data of this run")
    if report:
        require_report()
    name, wanted = str(settings.pop("model")), str(settings.pop("device", "auto"))
    backend = settings.pop("backend", None)
    device = choose_device(wanted)
    with joined(backend and str(backend), cuda=device.type == "cuda") as ranks:
        source, revision = str(settings.pop("hub", "ms")), settings.pop("model_revision", None)
        settings = _with_board(settings)
        # Of a network of one's own only its code knows the settings.
        check = check_typed if own is None or not own.changed("network") else lambda *_: None
        with ranks.in_turn():
            settings = merge(own.prepare(), settings) if own else settings
            if is_class(name):
                directory = from_scratch(name, settings)
                check(name, asked)
            else:
                path = hub.resolve(name, hub=source, revision=revision)
                before = ModelDir.open(path)
                refuse_unknown(typed_names(asked), before.config)
                check(before.model, merge(before.config, asked))
                directory = ModelDir.open(path, settings)
        recipe = Recipe.of(directory)
        parts = open_parts(directory)
        if report and kind_for(directory.model) is not SPEECH:
            raise OptionError(f"a report has error rates of texts, and a {directory.model} writes none")
        data = check_data(recipe, parts, open_sounds=check_only) if listed else None
        for kind, found in (("train", data.train), ("valid", data.valid)) if data else ():
            if check_only:
                tell(found)
            elif ranks.first:
                for line in found.summary():
                    logging.getLogger("funasr-train").info("%s: %s", kind, line)
        if check_only and data:
            return 1 if data.train.faults or data.valid.faults else 0
        if ranks.first and listed:
            note_start(recipe.output, directory)
        with progress_of_training(enabled=ranks.first) as show:
            run(recipe, data, parts, ranks.device(device), own=own, on_step=show)
        if report and ranks.first:
            print(make_report(recipe.output, device=wanted))
    return 0


def _with_board(settings: dict[str, Any]) -> dict[str, Any]:
    """Scalars for TensorBoard are written wherever it is installed, unless that is said otherwise."""
    there = importlib.util.find_spec("tensorboard") is not None
    return merge({"train_conf": {"use_tensorboard": there}}, settings)


if __name__ == "__main__":
    sys.exit(main())
