"""`funasr-live`: the microphone in, captions out while somebody speaks. Also a file, as if spoken now.

Exit status: 0 the sound is over, or Ctrl-C; 2 the command, a model or the microphone is wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING

from funasr.bin.arguments import Parser
from funasr.bin.inference import BUNDLED_ASR, BUNDLED_VAD, UNPUNCTUATED, is_local, set_up_logging
from funasr.bin.output import use_any_letter
from funasr.errors import FunASRError, OptionError

if TYPE_CHECKING:
    from funasr.arrays import Samples
    from funasr.pipeline.stream import RecognitionStream

BUNDLED_STREAMING = "bundled-streaming"

EPILOG = """\
examples:
  funasr-live                                     the bundled models: English digits and command words
  funasr-live -m paraformer-zh-streaming          Mandarin and English; downloads about 2 GB once
  funasr-live --two-pass                          each utterance is read again when it is complete
  funasr-live -m paraformer-zh-streaming --offline-model paraformer-zh --hotword "阿里巴巴 20"
  funasr-live --file talk.wav --speed 4           a file, four times as fast as it was spoken
  funasr-live -f json | your-program              one JSON object an event
  funasr-live --list-devices
"""


def main(argv: Sequence[str] | None = None) -> int:
    use_any_letter()
    try:
        return _run(_parser().parse_args(list(sys.argv[1:] if argv is None else argv)))
    except FunASRError as error:
        print(f"funasr-live: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before it listened, or for the second time
        print("funasr-live: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `funasr-live -f json | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    from funasr import __version__

    parser = Parser(
        prog="funasr-live",
        allow_abbrev=False,
        description="Captions for what is being said.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sound = parser.add_argument_group("sound")
    sound.add_argument("--file", metavar="PATH", help="play a file or URL instead of listening")
    sound.add_argument("--speed", type=float, default=1.0, metavar="N", help="play it N times as fast")
    sound.add_argument("--microphone", metavar="NAME", help="number or name (default: the system's choice)")
    sound.add_argument("--list-devices", action="store_true", help="microphones that are there, and exit")
    model = parser.add_argument_group("model")
    model.add_argument(
        "-m",
        "--model",
        metavar="NAME",
        help="streaming recognizer; with --two-pass 'none' for no words before the end of an utterance",
    )
    model.add_argument("--two-pass", action="store_true", help="read each utterance again when it ends")
    model.add_argument("--offline-model", metavar="NAME", help="what reads it then; implies --two-pass")
    model.add_argument("--vad-model", metavar="NAME", help="voice activity detector; 'none' to use none")
    model.add_argument("--punc-model", metavar="NAME", help="model that sets the marks; 'none' to use none")
    model.add_argument("--spk-model", metavar="NAME", help="with --two-pass: tell speakers apart")
    model.add_argument("--hotword", metavar="WORDS", help="with --two-pass: words to expect")
    model.add_argument("-H", "--hub", choices=("ms", "hf"), default="ms", help="where to download from")
    model.add_argument("--offline", action="store_true", help="never touch the network")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps (default: auto)")
    model.add_argument("--ncpu", type=int, metavar="N", help="threads for the network")
    model.add_argument("--quantize", action="store_true", help="ONNX files with integer weights, if any")
    parser.add_argument("-f", "--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens to stderr")
    parser.add_argument("--version", action="version", version=f"funasr {__version__}")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.list_devices:
        return _list_devices()
    if not args.speed > 0:
        raise OptionError(f"--speed is {args.speed}; it must be a number greater than 0")
    set_up_logging(verbose=args.verbose, quiet=args.quiet)
    if args.file is None:
        from funasr.bin.microphone import require_sounddevice

        require_sounddevice()  # now, and not after the models are loaded
    stream = _stream(args)
    with _set_by_ctrl_c() as stop, _sound(args, stream.rate, stop) as sound:
        if args.file is None and not args.quiet:
            print("Listening. Ctrl-C ends.", file=sys.stderr)
        _caption(stream, sound, args.format)
    return 0


def _caption(stream: RecognitionStream, sound: Iterator[Samples], form: str) -> None:
    """Show what is said until the sound is over."""
    from funasr.bin.captions import open_display

    with open_display(form) as display:
        for samples in sound:
            for event in stream.accept(samples):
                display.show(event)
        for event in stream.flush():
            display.show(event)


@contextmanager
def _set_by_ctrl_c() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for an end, so that nothing that was said is lost; the second one interrupts."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    usual = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)


def _sound(
    args: argparse.Namespace, rate: int, stop: threading.Event
) -> AbstractContextManager[Iterator[Samples]]:
    from funasr.bin.microphone import listen, play

    if args.file is not None:
        return nullcontext(play(args.file, rate, stop, speed=args.speed))
    name = args.microphone
    return listen(rate, stop, int(name) if name is not None and name.isdigit() else name)


def _stream(args: argparse.Namespace) -> RecognitionStream:
    """Loads the models."""
    from funasr.auto.auto_model import AutoModel

    two_pass = args.two_pass or args.offline_model is not None
    for flag in ("spk_model", "hotword"):
        if getattr(args, flag) is not None and not two_pass:
            raise OptionError(f"--{flag.replace('_', '-')} is for whole utterances; add --two-pass")
    if args.model == "none" and not two_pass:
        raise OptionError("-m none leaves the draft out, and there is nothing else: add --two-pass")
    first = args.model or BUNDLED_STREAMING
    last = (args.offline_model or BUNDLED_ASR) if two_pass else first
    common = {"hub": args.hub, "offline": args.offline or None, "device": args.device, "ncpu": args.ncpu}
    common["quantize"] = args.quantize
    model = AutoModel(
        model=last,
        vad_model=_companion(args.vad_model, BUNDLED_VAD if is_local(last) else "fsmn-vad"),
        punc_model=_companion(args.punc_model, _punctuation(last)),
        spk_model=args.spk_model,
        **common,
    )
    if not two_pass:
        return model.stream()
    draft = None if first == "none" else AutoModel(model=first, **common)
    return model.two_pass(draft, hotword=args.hotword)


def _companion(given: str | None, usual: str | None) -> str | None:
    return usual if given is None else None if given == "none" else given


def _punctuation(name: str) -> str | None:
    """The punctuation model that goes with a released recognizer which sets no marks itself."""
    from funasr.aliases import find_alias

    alias = None if is_local(name) else find_alias(name)
    unpunctuated = (*UNPUNCTUATED, "ParaformerStreaming")
    return "ct-punc" if alias is not None and alias.model in unpunctuated else None


def _list_devices() -> int:
    from funasr.bin.microphone import devices

    found = devices()
    if not found:
        raise OptionError("no microphone is there")
    for number, name, chosen in found:
        print(f"{'*' if chosen else ' '} {number:3} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
