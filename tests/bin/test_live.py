"""The funasr-live command, with tiny models, files, and a microphone that is made of a few lines."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr.arrays import Samples
from funasr.bin import captions, microphone
from funasr.bin.live import main
from funasr.pipeline.events import Final, Partial
from funasr.pipeline.stream import RecognitionStream
from funasr.result import Token
from tests.tiny_models import make_ct_punc, make_paraformer, make_vad, talk

SOUND = talk(("quiet", 0.7), ("loud", 1.6), ("quiet", 1.2), ("loud", 1.1), ("quiet", 1.0))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    make_paraformer(folder / "streaming", "ParaformerStreaming", seed=3)
    make_paraformer(folder / "asr")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    soundfile.write(folder / "talk.wav", SOUND, 16000, subtype="FLOAT")
    (folder / "bad.wav").write_bytes(b"not sound at all")
    return folder


@pytest.fixture
def models(work: Path) -> list[str]:
    return ["-m", str(work / "streaming"), "--vad-model", str(work / "vad"), "--device", "cpu"]


@pytest.fixture
def file(work: Path) -> list[str]:
    return ["--file", str(work / "talk.wav"), "--speed", "1000"]


def test_a_file_is_a_line_an_utterance_and_nothing_else(
    models: list[str], file: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*file, *models]) == 0

    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert all(line.strip() for line in out.splitlines())
    assert err == ""


def test_json_is_an_object_an_event(
    models: list[str], file: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*file, *models])
    lines = capsys.readouterr().out.splitlines()

    assert main([*file, *models, "-f", "json"]) == 0

    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["text"] for record in records if record["type"] == "final"] == lines
    assert {record["type"] for record in records} == {"partial", "stable", "final"}


@pytest.mark.parametrize("draft", [True, False])
def test_two_passes_read_each_utterance_again(
    draft: bool, work: Path, models: list[str], file: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--offline-model", str(work / "asr"), "--punc-model", str(work / "punc"), "-f", "json"]
    main([*file, *models, "-f", "json"])
    first = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert main([*file, *models, *more, *([] if draft else ["-m", "none"])]) == 0

    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["type"] for record in records} == ({"partial", "final"} if draft else {"final"})
    finals = [record for record in records if record["type"] == "final"]
    assert len(finals) == 2
    assert all(record["text"][-1] in "。？.?" for record in finals)
    assert [record["text"] for record in finals] != [r["text"] for r in first if r["type"] == "final"]


def test_a_file_is_played_as_fast_as_it_was_spoken_or_faster(work: Path) -> None:
    began = time.monotonic()
    pieces = list(microphone.play(str(work / "talk.wav"), 16000, threading.Event(), speed=8))
    took = time.monotonic() - began

    np.testing.assert_allclose(np.concatenate(pieces), SOUND, atol=1e-4)
    assert {len(piece) for piece in pieces[:-1]} == {960}
    assert len(SOUND) / 16000 / 8 <= took < len(SOUND) / 16000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--file", "absent.wav"], "absent.wav"),
        (["--file", "bad.wav"], "bad.wav"),
        (["--file", "talk.wav", "--speed", "0"], "--speed is 0.0; it must be a number greater than 0"),
        (["--file", "talk.wav", "--speed", "nan"], "--speed is nan"),
        (["--fiel", "talk.wav"], "no flag '--fiel'. Did you mean '--file'? funasr-live --help"),
        (["--file", "talk.wav", "-m", "paraformr-zh"], "Did you mean 'paraformer-zh"),
        (["--file", "talk.wav", "-m", "asr"], "'paraformer-zh-streaming' does"),
        (["--file", "talk.wav", "--hotword", "a"], "--hotword is for whole utterances; add --two-pass"),
        (["--file", "talk.wav", "--offline-model", "asr", "--vad-model", "none"], "needs a vad_model"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_status_2(
    arguments: list[str],
    message: str,
    work: Path,
    models: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(work)

    assert main([*models, *arguments]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("funasr-live: ")
    assert message in err
    assert len(err.splitlines()) == 1


class FakeDevice(ModuleType):
    """What is used of the package sounddevice. The device plays SOUND in blocks, then `at_end` happens."""

    class PortAudioError(Exception):
        pass

    class default:  # noqa: N801
        device = (1, 0)

    def __init__(self, rate: int = 16000) -> None:
        super().__init__("sounddevice")
        self.rate = rate
        self.at_end: Callable[[], None] = lambda: None
        self.opened: list[Any] = []
        outer = self

        class InputStream:
            def __init__(self, **settings: Any) -> None:
                if settings["device"] not in (None, 1, "Good mic"):
                    raise ValueError(f"No input device matching {settings['device']!r}")
                self.settings = settings
                self.active = True
                self.closed = False
                outer.opened.append(self)

            def start(self) -> None:
                size = self.settings["blocksize"]
                for at in range(0, len(outer.sound), size):
                    block = outer.sound[at : at + size, None]
                    self.settings["callback"](block, len(block), None, None)
                self.active = False

            def stop(self) -> None:
                self.active = False

            def close(self) -> None:
                self.closed = True

        self.InputStream = InputStream

    @property
    def sound(self) -> Samples:
        import soxr

        return np.asarray(soxr.resample(SOUND, 16000, self.rate), np.float32)

    def check_input_settings(self, samplerate: int, **settings: Any) -> None:
        if samplerate != self.rate:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        found = [
            {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48000.0},
            {"name": "Good mic", "max_input_channels": 2, "default_samplerate": float(self.rate)},
        ]
        return found[1] if kind == "input" else found


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    fake = FakeDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(microphone, "PATIENCE_S", 0.01)
    return fake


def test_the_microphone_is_listened_to_until_ctrl_c_and_nothing_is_lost(
    device: FakeDevice,
    models: list[str],
    file: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main([*file, *models])
    expected = capsys.readouterr().out
    accept = RecognitionStream.accept

    def accept_and_be_interrupted(stream: RecognitionStream, samples: Samples) -> Any:
        """Ctrl-C comes at the first piece: the others are gathered, and not looked at yet."""
        monkeypatch.setattr(RecognitionStream, "accept", accept)
        signal.raise_signal(signal.SIGINT)
        return accept(stream, samples)

    monkeypatch.setattr(RecognitionStream, "accept", accept_and_be_interrupted)
    usual = signal.getsignal(signal.SIGINT)

    assert main(models) == 0
    assert signal.getsignal(signal.SIGINT) is usual

    out, err = capsys.readouterr()
    assert out == expected
    assert err == "Listening. Ctrl-C ends.\n"
    [stream] = device.opened
    assert stream.closed
    assert stream.settings["samplerate"] == 16000


def test_a_microphone_of_another_rate_is_resampled(device: FakeDevice) -> None:
    device.rate = 44100

    heard = []
    stop = threading.Event()
    with microphone.listen(16000, stop) as sound:
        for piece in sound:
            heard.append(piece)
            stop.set()

    samples = np.concatenate(heard)
    assert abs(len(samples) - len(SOUND)) < 2
    assert device.opened[0].settings["samplerate"] == 44100
    assert device.opened[0].closed
    np.testing.assert_allclose(np.abs(samples).mean(), np.abs(SOUND[: len(samples)]).mean(), rtol=0.1)


def test_an_unplugged_microphone_is_one_line(
    device: FakeDevice, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*models, "-q"]) == 2

    err = capsys.readouterr().err
    assert err == "funasr-live: the microphone stopped: was it unplugged?\n"
    assert device.opened[0].closed


def test_a_microphone_that_is_not_there_is_one_line(
    device: FakeDevice, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*models, "--microphone", "Bad mic"]) == 2

    err = capsys.readouterr().err
    assert "the microphone 'Bad mic' cannot be used: No input device matching" in err
    assert "--list-devices" in err
    assert len(err.splitlines()) == 1


def test_devices_that_hear_are_listed(device: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-devices"]) == 0

    assert capsys.readouterr().out == "*   1 Good mic\n"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            ImportError("No module"),
            "needs the package 'sounddevice', which is not installed. Run: pip install",
        ),
        (OSError("PortAudio library not found"), "libportaudio2"),
    ],
)
def test_without_what_reads_a_microphone_the_command_that_installs_it_is_named(
    fault: Exception,
    message: str,
    models: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "sounddevice":
                raise fault

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])

    assert main(models) == 2

    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    return screen


def test_in_a_terminal_the_draft_is_grey_and_goes_when_the_utterance_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch)
    words = (Token(text="hello"),)
    common: dict[str, Any] = {"id": 0, "words": words, "start_ms": 0, "end_ms": 1}

    with captions.open_display("text") as display:
        display.show(Partial(text="hello", settled=0, **common))
        display.show(Final(text="hello there.", speaker=1, **common))
        display.show(Final(text="", **{**common, "words": ()}))

    shown = screen.getvalue()
    grey, plain = shown.index("\x1b[2mhello"), shown.index("[speaker 1] hello there.\n")
    erased = shown.index("\x1b[2K", grey)
    assert grey < erased < plain
    assert shown.count("\n") <= 3


def test_a_draft_longer_than_its_room_shows_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    text = "好" * 100 + "end"

    with captions.open_display("text") as display:
        display.show(Partial(id=0, words=(), text=text, start_ms=0, end_ms=1, settled=0))

    shown = screen.getvalue()
    assert "…好" in shown
    assert "好end" in shown
    assert shown.count("好") <= 2 * 60  # drawn once more at its end


def test_tags_of_a_model_are_not_shown() -> None:
    final = Final(id=0, words=(), text="<|en|><|NEUTRAL|><|Speech|>hi", start_ms=0, end_ms=1)

    assert captions.written(final) == "hi"


def test_the_command_starts_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "funasr.bin.live", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0
    assert "usage: funasr-live" in done.stdout
    assert not {"torch", "numpy", "rich"} & {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    }


def test_without_a_model_the_bundled_ones_listen(
    bundled_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = bundled_dir / "samples" / "digits-hts.flac"

    assert main(["--file", str(clip), "--speed", "1000", "--device", "cpu"]) == 0
    once = capsys.readouterr().out
    assert main(["--file", str(clip), "--speed", "1000", "--device", "cpu", "--two-pass"]) == 0

    assert once == capsys.readouterr().out == "zero eight six two\n"
