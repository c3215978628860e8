"""`funasr-data validate train.jsonl`: what is wrong with a manifest, before a night is spent on it.

Exit status: 0 every line can be learnt from; 1 some cannot; 2 the command is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from funasr import __version__, hub
from funasr.bin.arguments import Parser
from funasr.config import options, parse_overrides
from funasr.errors import FunASRError
from funasr.modeldir import ModelDir
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Limits, Report, check_manifest, manifest_paths
from funasr.train.kinds import KINDS, SPEECH, kind_for, kind_named

EPILOG = "example: funasr-data validate train.jsonl -m paraformer-zh ++max_source_length=3000"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="funasr-data",
        description="Look at the lists that training reads.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"funasr-data {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    validate = commands.add_parser("validate", help="name every line that cannot be learnt from, and why")
    validate.add_argument(
        "manifest", type=Path, nargs="+", help=".jsonl, .parquet or .tar files, or files that list some"
    )
    validate.add_argument(
        "-m", "--model", metavar="NAME", help="model to train: its vocabulary must write texts"
    )
    validate.add_argument(
        "--kind",
        choices=KINDS,
        help="what lines hold, where no model says so: speech (the default), segments, speakers, marks",
    )
    validate.add_argument("--no-open", action="store_true", help="believe source_len; open no sound")
    validate.add_argument("limits", nargs="*", metavar="++name=value", help="limits, as in dataset_conf")
    arguments = list(sys.argv[1:] if argv is None else argv)
    limits = [argument for argument in arguments if argument.startswith("+")]
    try:
        known = parser.parse_args([argument for argument in arguments if not argument.startswith("+")])
        directory = None if known.model is None else ModelDir.open(hub.resolve(known.model))
        kind = SPEECH if directory is None else kind_for(directory.model)
        if known.kind is not None:
            kind = kind_named(known.kind)
        report = check_manifest(
            [path for given in known.manifest for path in manifest_paths(given)],
            options(Limits, parse_overrides(limits), "funasr-data validate"),
            kind=kind,
            tokenizer=vocabulary_of(directory) if directory is not None and kind is SPEECH else None,
            open_sounds=not known.no_open,
        )
    except FunASRError as error:
        print(f"funasr-data: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-data: interrupted", file=sys.stderr)
        return 130
    tell(report)
    return 1 if report.faults else 0


def tell(report: Report) -> None:
    """Each fault on stderr, the totals on stdout."""
    for fault in report.faults:
        print(fault, file=sys.stderr)
    print("\n".join(report.summary()))


def vocabulary_of(directory: ModelDir) -> Tokenizer:
    """The tokenizer of a model; its weights are not read."""
    from funasr.stages.assembly import build_tokenizer

    return build_tokenizer(directory)


if __name__ == "__main__":
    sys.exit(main())
