"""`funasr-data validate train.jsonl`: what is wrong with a manifest, before a night is spent on it.

Exit status: 0 every line can be learnt from; 1 some cannot; 2 the command is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from funasr.config import options, parse_overrides
from funasr.errors import FunASRError
from funasr.modeldir import ModelDir
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Limits, Report, check_manifest, manifest_paths


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="funasr-data", description="Look at the lists that training reads.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    validate = commands.add_parser("validate", help="name every line that cannot be learnt from, and why")
    validate.add_argument("manifest", type=Path, nargs="+", help=".jsonl files, or files that list some")
    validate.add_argument("-m", "--model", metavar="NAME", help="model whose vocabulary must write the texts")
    validate.add_argument("--no-open", action="store_true", help="believe source_len; open no sound")
    validate.add_argument("limits", nargs="*", metavar="++name=value", help="limits, as in dataset_conf")
    arguments = list(sys.argv[1:] if argv is None else argv)
    limits = [argument for argument in arguments if argument.startswith("+")]
    known = parser.parse_args([argument for argument in arguments if not argument.startswith("+")])
    try:
        report = check_manifest(
            [path for given in known.manifest for path in manifest_paths(given)],
            options(Limits, parse_overrides(limits), "funasr-data validate"),
            tokenizer=None if known.model is None else vocabulary_of(known.model),
            open_sounds=not known.no_open,
        )
    except FunASRError as error:
        print(f"funasr-data: {error}", file=sys.stderr)
        return 2
    tell(report)
    return 1 if report.faults else 0


def tell(report: Report) -> None:
    """Each fault on stderr, the totals on stdout."""
    for fault in report.faults:
        print(fault, file=sys.stderr)
    print("\n".join(report.summary()))


def vocabulary_of(model: str) -> Tokenizer:
    """The tokenizer of a model directory, alias or hub id; its weights are not read."""
    from funasr import hub
    from funasr.auto.build import build_tokenizer

    return build_tokenizer(ModelDir.open(hub.resolve(model)))


if __name__ == "__main__":
    sys.exit(main())
