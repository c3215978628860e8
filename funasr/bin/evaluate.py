"""`funasr-eval ++model=... ++data=test.jsonl`: error rates of a recognizer on recordings whose text is known.

Exit status: 0 all is well; 1 some lines or sounds could not be used, the others are counted; 2 the command,
the model or the list is wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from funasr.bin.arguments import SettingsParser
from funasr.bin.inference import set_up_logging
from funasr.bin.output import use_any_letter
from funasr.config import options, parse_overrides
from funasr.errors import FunASRError, OptionError
from funasr.text.scoring import Errors, Normalization, Unit, align
from funasr.train.evaluation import Evaluation, evaluate, read_test_set, write_evaluation

EPILOG = """\
settings:
  ++model=NAME          alias, hub id or directory
  ++data=LIST           test.jsonl; or wav.scp, with ++text=text.txt
  ++output_dir=DIR      also write utterances.jsonl (reference, hypothesis, alignment) and summary.json
  ++unit=auto           auto: characters of Chinese, Japanese and Korean, words of the rest; char; word
  ++normalize=true      false: compare texts as they stand. One by one: ++keep_case=true (A is not a),
                        ++keep_punctuation=true, ++keep_width=true (Ａ is not A)
Any other setting is one of AutoModel: ++device=cpu ++batch_size=8 ++use_itn=true ++vad_model=fsmn-vad

example: funasr-eval ++model=paraformer-zh ++data=test.jsonl ++output_dir=result
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of this command; the others are the model's."""

    data: str | list[str]
    text: str | None = None
    output_dir: str | None = None
    unit: Unit = "auto"
    normalize: bool = True
    keep_case: bool = False
    keep_punctuation: bool = False
    keep_width: bool = False

    @property
    def normalization(self) -> Normalization:
        return Normalization(
            case=self.normalize and not self.keep_case,
            punctuation=self.normalize and not self.keep_punctuation,
            width=self.normalize and not self.keep_width,
        )


def main(argv: Sequence[str] | None = None) -> int:
    about = "Error rates of a recognizer on recordings whose text is known."
    parser = SettingsParser("funasr-eval", about, EPILOG)
    parser.add_argument("--json", action="store_true", help="the totals as JSON instead of a table")
    use_any_letter()
    try:
        known, settings = parser.read(argv)
        return _evaluate(parse_overrides(settings), as_json=known.json)
    except FunASRError as error:
        print(f"funasr-eval: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-eval: interrupted", file=sys.stderr)
        return 130


def _evaluate(settings: dict[str, Any], *, as_json: bool) -> int:
    for name in ("model", "data"):
        if not settings.get(name):
            raise OptionError(f"no ++{name}=... given. {EPILOG.splitlines()[-1]}")
    own = {field.name for field in fields_of(Options)}
    wanted = options(Options, {name: settings.pop(name) for name in own & settings.keys()}, "funasr-eval")
    data = [wanted.data] if isinstance(wanted.data, str) else wanted.data
    test_set = read_test_set(data, text=wanted.text)
    for fault in test_set.faults:
        print(f"funasr-eval: {fault}", file=sys.stderr)

    align((), ())  # what counting misses is said before anything is heard
    from funasr.auto.auto_model import AutoModel
    from funasr.auto.progress import progress_bar

    set_up_logging(verbose=False)
    model = AutoModel(**{"disable_pbar": True, **settings})
    with progress_bar() as on_progress:
        result = evaluate(
            test_set.references,
            lambda items: model.transcribe(items, on_progress=on_progress),
            unit=wanted.unit,
            normalization=wanted.normalization,
        )
    for one in result.failed:
        print(f"funasr-eval: {one.reference.key}: {one.error}", file=sys.stderr)
    about = {"model": str(settings["model"]), "data": data, "lines_left_out": len(test_set.faults)}
    if wanted.output_dir is not None:
        write_evaluation(result, Path(wanted.output_dir), about)
    if as_json:
        print(json.dumps({**about, **result.summary()}, ensure_ascii=False))
    else:
        show(result)
        if wanted.output_dir is not None:
            print(f"each utterance: {Path(wanted.output_dir) / 'utterances.jsonl'}")
    return 1 if result.failed or test_set.faults else 0


def show(result: Evaluation) -> None:
    """The totals as a table, and what went wrong most often."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", result.metric, "units", "right", "subst.", "del.", "ins.", box=box.SIMPLE_HEAD)
    rows = {"all": result.errors}
    if result.metric == "MER":
        rows |= result.by_kind
    for name, errors in rows.items():
        counts = (errors.units, errors.hits, errors.substitutions, errors.deletions, errors.insertions)
        table.add_row(name, percent(errors), *map(str, counts))
    for column in table.columns[1:]:
        column.justify = "right"
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)
    right = result.summary()["utterances_right"]
    print(
        f"{len(result.scored)} utterances, {right} without error, {len(result.failed)} could not be used; "
        f"{result.audio_s:.1f} s of sound in {result.processing_s:.2f} s"
        + (f" (RTF {result.rtf:.4f})" if result.rtf is not None else "")
    )
    worst = [f"{said or '-'} > {heard or '-'} ({times})" for said, heard, times in result.confusions(5)]
    if worst:
        print("most frequent errors: " + ", ".join(worst))


def percent(errors: Errors) -> str:
    """The rate as a table shows it."""
    return "-" if errors.rate is None else f"{errors.rate:.2%}"


if __name__ == "__main__":
    sys.exit(main())
