"""`funasr a.wav b.mp3 ...`: recordings in, text on stdout. Also `funasr ++model=... ++input=...`.

Exit status: 0 all is well; 1 some input failed, the others are done; 2 the command or the model is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funasr.bin.arguments import Parser, SettingsParser
from funasr.bin.formats import FORMATS, LINE_WIDTH, SUBTITLES, CueStyle
from funasr.bin.output import Output, use_any_letter
from funasr.errors import FunASRError, OptionError
from funasr.text.cues import CueLimits

if TYPE_CHECKING:
    from funasr.audio.inputs import Item
    from funasr.auto.auto_model import AutoModel

BUNDLED_ASR = "bundled-paraformer-words-en"
BUNDLED_VAD = "bundled-fsmn-vad-small"
MODEL_VARIABLE = "FUNASR_MODEL"
BUNDLED_SPK = "bundled-spk"
SPEAKER_MODEL = "cam++"
"""What tells speakers apart behind a recognizer that was fetched from a hub."""
PRESETS = {"paraformer": "paraformer-zh"}
"""Upstream's short names for -m, where they differ from the alias of the model."""
UNPUNCTUATED = ("Paraformer", "SeacoParaformer", "BiCifParaformer", "ContextualParaformer")
"""Classes of recognizers that write words without marks."""
SAY_IT_TWICE = frozenset({"funasr.pipeline.offline", "funasr.pipeline.recordings"})
"""They warn of inputs that fail, which the result says too."""
LANGUAGES = {
    "zh": "paraformer-zh",
    "en": "paraformer-en",
    "yue": "sensevoice",
    "ja": "sensevoice",
    "ko": "sensevoice",
}
"""What -l chooses when no model is named."""

EPILOG = """\
examples:
  funasr command.wav                            the bundled model: English digits and command words
  funasr -m paraformer-zh meeting.mp3           Mandarin and English; downloads about 2 GB once
  funasr -m paraformer-zh -f srt -o subs *.mp4  one .srt for each video
  funasr -m paraformer-zh --spk -f srt talk.mp3 subtitles that say who speaks
  funasr -m paraformer-zh --itn lecture.mp3     numbers as digits
  funasr --timestamps call.wav                  a line a phrase, with its times
  funasr -m ./my-model --hotword "阿里巴巴 20" a.wav
  funasr ++model=paraformer-zh ++vad_model=fsmn-vad ++input=a.wav   every option of AutoModel, as name=value

The model can also be set for good: export FUNASR_MODEL=paraformer-zh
"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which model to use, and what to tell the user about it."""

    model: str
    vad_model: str | None
    punc_model: str | None = None
    spk_model: str | None = None
    note: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_any_letter()
    try:
        if any(argument.startswith("+") for argument in arguments):
            return _documented_form(arguments)
        return _transcribe(_parser().parse_args(arguments))
    except FunASRError as error:
        print(f"funasr: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `funasr *.wav | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"funasr: cannot write the results: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2


def _parser() -> argparse.ArgumentParser:
    from funasr import __version__

    parser = Parser(
        prog="funasr",
        allow_abbrev=False,
        description="Turn recordings of any format and length into text.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audio", nargs="*", help="files, URLs, lists (wav.scp, .jsonl, .txt), - for stdin")
    model = parser.add_argument_group("model")
    model.add_argument("-m", "--model", metavar="NAME", help="alias, hub id or directory (see --list-models)")
    model.add_argument(
        "-l", "--language", metavar="LANG", help="zh, en, ...: picks the model when -m does not"
    )
    model.add_argument("--vad-model", metavar="NAME", help="voice activity detector; 'none' to use none")
    model.add_argument("--punc-model", metavar="NAME", help="model that sets the marks; 'none' to use none")
    model.add_argument("--spk", action="store_true", help="tell speakers apart")
    model.add_argument("--spk-model", metavar="NAME", help="tell speakers apart with this model")
    model.add_argument("--spk-num", type=int, metavar="N", help="how many speakers there are, where known")
    model.add_argument(
        "-H", "--hub", choices=("ms", "hf"), default="ms", help="where to download from (default: ms)"
    )
    model.add_argument("--offline", action="store_true", help="never touch the network")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps (default: auto)")
    model.add_argument("--ncpu", type=int, metavar="N", help="threads for the network")
    model.add_argument("--engine", choices=("auto", "torch", "onnx"), default="auto", help="default: auto")
    model.add_argument("--quantize", action="store_true", help="ONNX files with integer weights, if any")
    words = parser.add_argument_group("recognition")
    words.add_argument(
        "--hotword",
        "--hotwords",
        metavar="WORDS",
        help="words to expect: 'a b', a .txt file or a URL; weights allowed",
    )
    words.add_argument("--itn", action="store_true", help="numbers, dates and amounts as digits")
    words.add_argument(
        "--repair",
        metavar="RULES",
        help="write 'wrong=>right', or a phrase for what sounds like it; parted by ';', or a .txt file",
    )
    words.add_argument(
        "--channels", choices=("mix", "split"), default="mix", help="stereo: mix, or each side apart"
    )
    words.add_argument("--batch-size-s", type=float, metavar="S", help="seconds of audio in a batch")
    words.add_argument("--fs", type=int, metavar="HZ", help="sample rate of raw .pcm files (default: 16000)")
    output = parser.add_argument_group("output")
    output.add_argument("-f", "--format", choices=FORMATS, default="text", help="default: text")
    output.add_argument(
        "-o", "--output-dir", type=Path, metavar="DIR", help="one file an input instead of stdout"
    )
    output.add_argument("--timestamps", action="store_true", help="times in text and json")
    cues = parser.add_argument_group("subtitles (srt, vtt, ass), and phrases of the other formats")
    cues.add_argument(
        "--max-line-width",
        type=int,
        metavar="N",
        help="characters a line, a Chinese one counts two (default: 42)",
    )
    cues.add_argument("--max-lines", type=int, metavar="N", help="lines a subtitle (default: 2)")
    cues.add_argument("--max-duration", type=float, metavar="S", help="seconds a subtitle (default: 7)")
    cues.add_argument("--no-speaker-prefix", action="store_true", help="no names before what is said")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens to stderr")
    parser.add_argument("--list-models", action="store_true", help="names that -m knows, and exit")
    parser.add_argument("--version", action="version", version=f"funasr {__version__}")
    return parser


def _transcribe(args: argparse.Namespace) -> int:
    if args.list_models:
        return _list_models()
    if not args.audio:
        raise OptionError("nothing to transcribe. Try: funasr recording.wav   (funasr --help for more)")
    set_up_logging(verbose=args.verbose, quiet=args.quiet)
    choice = _choose(args)
    if choice.note and not args.quiet:
        print(choice.note, file=sys.stderr)

    from funasr.auto.output_dir import nothing_left

    with nothing_left(args.output_dir):
        return _transcribe_with(choice, args)


def _transcribe_with(choice: Choice, args: argparse.Namespace) -> int:
    from funasr.audio.inputs import expand_each
    from funasr.auto.auto_model import AutoModel

    style = _cue_style(args)
    items = expand_each(sys.stdin.buffer if argument == "-" else argument for argument in args.audio)
    output = Output(
        args.format,
        timestamps=args.timestamps,
        directory=args.output_dir,
        many=len(items) > 1,
        style=style,
    )
    model = AutoModel(
        model=choice.model,
        vad_model=choice.vad_model,
        punc_model=choice.punc_model,
        spk_model=choice.spk_model,
        hub=args.hub,
        offline=True if args.offline else None,
        device=args.device,
        ncpu=args.ncpu,
        engine=args.engine,
        quantize=args.quantize,
        disable_pbar=True,
    )
    return _write_all(model, items, output, choice, args)


def _write_all(
    model: AutoModel, items: Sequence[Item], output: Output, choice: Choice, args: argparse.Namespace
) -> int:
    from funasr.auto.progress import progress_bar
    from funasr.auto.rewrite import matches
    from funasr.stages.sense_voice import SenseVoiceRecognizer

    settings: dict[str, Any] = {"hotword": args.hotword, "channels": args.channels, "fs": args.fs}
    settings["pred_timestamp"] = args.timestamps or args.format in (*SUBTITLES, "tsv")
    settings |= _repair(args.repair)
    if args.spk_num is not None:
        if model.spk_model is None:
            raise OptionError("--spk-num says how many speakers to tell apart; add --spk to do so")
        settings["preset_spk_num"] = args.spk_num
    if args.batch_size_s is not None:
        settings["batch_size_s"] = args.batch_size_s
    if args.language:
        settings["language"] = args.language
    # SenseVoice sets no marks otherwise.
    settings["use_itn"] = args.itn or isinstance(model.model, SenseVoiceRecognizer)
    failed = 0
    began = time.perf_counter()
    with progress_bar(enabled=not args.quiet) as on_progress:
        results = model.transcribe(items, on_progress=on_progress, **settings)
        for item, transcript in zip(items, results, strict=True):
            name = str(item.source) if isinstance(item.source, (str, Path)) else item.key
            about: dict[str, Any] = {
                "file": name,
                "model": choice.model,
                "audio_duration_s": transcript.duration_ms / 1000,
                "processing_s": round(time.perf_counter() - began, 3),
            }
            if any(token.heard != (token.text,) for token in transcript.tokens):
                about["raw_text"] = transcript.raw_text
            if transcript.repairs:
                about["postprocess_hotword_matches"] = matches(transcript)
            began = time.perf_counter()
            if transcript.error is not None:
                failed += 1
                print(f"funasr: {name}: {transcript.error}", file=sys.stderr)
                if not transcript.tokens and args.format != "json":
                    continue
            output.write(transcript, name, about)
    return 1 if failed else 0


def _cue_style(args: argparse.Namespace) -> CueStyle:
    """Raises OptionError for numbers that no subtitle can have."""
    for flag in ("max_line_width", "max_lines", "max_duration"):
        value = getattr(args, flag)
        if value is not None and not 0 < value < float("inf"):
            raise OptionError(f"--{flag.replace('_', '-')} is {value}; it must be a number greater than 0")
    limits = CueLimits()
    if args.max_line_width is not None or args.max_lines is not None:
        limits = replace(
            limits,
            line_width=args.max_line_width or LINE_WIDTH,
            max_lines=args.max_lines or limits.max_lines,
        )
    if args.max_duration is not None:
        limits = replace(limits, max_duration_ms=round(args.max_duration * 1000))
    return CueStyle(limits=limits, labels=not args.no_speaker_prefix)


def _repair(rules: str | None) -> dict[str, Any]:
    if rules is None:
        return {}
    if rules.endswith(".txt"):
        return {"postprocess_hotword_file": rules}
    return {"postprocess_hotwords": rules.replace("；", ";").split(";")}


def set_up_logging(*, verbose: bool, quiet: bool = False) -> None:
    """Everything with -v, nothing with -q, else our warnings; what a result says itself is not said twice."""
    import logging

    handler = logging.StreamHandler(sys.stderr)
    if not verbose:
        handler.addFilter(
            lambda record: record.name.startswith("funasr.") and record.name not in SAY_IT_TWICE
        )
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING,
        handlers=[handler],
        format="%(levelname)s %(name)s: %(message)s" if verbose else "funasr: %(message)s",
    )


def _choose(args: argparse.Namespace) -> Choice:
    """The model to use: -m, else what -l or FUNASR_MODEL say, else the bundled one."""
    if args.language is not None and args.model is None and args.language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise OptionError(
            f"no model is known for -l {args.language}; name one with -m, or use one of {known}"
        )
    named = args.model or LANGUAGES.get(args.language or "") or os.environ.get(MODEL_VARIABLE)
    vad = args.vad_model
    if vad == "none":
        vad = None
    elif vad is None:
        vad = BUNDLED_VAD if not named or is_local(named) else "fsmn-vad"
    punc = args.punc_model
    if punc is None and named and not is_local(named):
        punc = _companion(PRESETS.get(named, named))
    elif punc == "none":
        punc = None
    spk = args.spk_model
    if spk is None and args.spk:
        spk = BUNDLED_SPK if not named or is_local(named) else SPEAKER_MODEL
    if named:
        return Choice(model=PRESETS.get(named, named), vad_model=vad, punc_model=punc, spk_model=spk)
    return Choice(
        model=BUNDLED_ASR,
        vad_model=vad,
        punc_model=punc,
        spk_model=spk,
        note=(
            "Using the bundled model: English digits and ten command words only. "
            "For Mandarin and English speech: funasr -m paraformer-zh ... (downloads about 2 GB once)"
        ),
    )


def _companion(name: str) -> str | None:
    """The punctuation model that goes with a released recognizer which sets no marks itself."""
    from funasr.aliases import find_alias

    alias = find_alias(name)
    return "ct-punc" if alias is not None and alias.model in UNPUNCTUATED else None


def is_local(name: str) -> bool:
    """Nothing has to be downloaded for this model, so nothing should be for its companion."""
    return name.startswith("bundled-") or Path(name).is_dir()


def _list_models() -> int:
    from rich.console import Console
    from rich.table import Table

    from funasr.aliases import ALIASES, BUNDLED
    from funasr.registry import MODELS

    table = Table("name", "what it is for", "where it comes from", box=None, pad_edge=False)
    for model in BUNDLED:
        table.add_row(model.name, model.task, f"this package, no download ({model.directory})")
    for alias in ALIASES.values():
        if alias.model in MODELS:
            table.add_row(alias.name, alias.task, alias.ms)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _documented_form(arguments: Sequence[str]) -> int:
    """`++model=... ++input=...`: all but the input goes to AutoModel; one JSON record a line comes out."""
    import json

    from funasr.config import load_yaml, merge, parse_overrides

    parser = SettingsParser("funasr", "", "")
    parser.add_argument("--config-path", type=Path, default=Path())
    parser.add_argument("--config-name")
    flags, overrides = parser.read(arguments)
    base: dict[str, Any] = {}
    if flags.config_name is not None:
        path = flags.config_path / flags.config_name
        base = load_yaml(path if path.suffix else path.with_suffix(".yaml"))
    settings = merge(base, parse_overrides(overrides))
    if "input" not in settings:
        raise OptionError("no ++input=... given: a file, a URL, or a list such as wav.scp")

    from funasr.auto.auto_model import AutoModel

    set_up_logging(verbose=False)
    source = settings.pop("input")
    failed = 0
    for record in AutoModel(**settings).generate(input=source):
        failed += "error" in record
        print(json.dumps(record, ensure_ascii=False, default=lambda array: array.tolist()), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
