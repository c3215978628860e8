"""How well detectors find speech: frame F1 against labels that none of them was trained on.

    python benchmarks/vad_accuracy.py --data ../shared/data [--model DIR ...]

Files: windows labelled by hand (vad/small), speech regions of meetings and dialogues (RTTM of diarization/),
and the silences of forced alignments of read Mandarin (asr/aishell_sample/phones.ctm). A frame is 10 ms.
"segments" counts what a user gets, padding and short pauses included; "frames" the network's own opinion.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funasr.audio.load import load_audio
from funasr.config import load_yaml
from funasr.features.frontend import WavFrontend
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.weights import load_weights
from funasr.result import Segment
from funasr.stages.vad import SpeechDetector
from funasr.vad.options import VadOptions

Mask = NDArray[np.bool_]
Labelled = tuple[NDArray[np.float32], Mask, Mask]
"""(samples at 16 kHz, speech in each frame of 10 ms, whether that frame's label is known)."""

RATE = 16000


def mask_of(intervals: Sequence[tuple[float, float]], seconds: float) -> Mask:
    mask = np.zeros(int(seconds * 100), dtype=np.bool_)
    for start, end in intervals:
        mask[round(start * 100) : round(end * 100)] = True
    return mask


def hand_labelled(data: Path) -> Iterator[Labelled]:
    folder = data / "vad" / "small"
    for name, labels in json.loads((folder / "labels.json").read_text()).items():
        samples = load_audio(folder / "wavs" / f"{name}.wav", RATE)
        seconds = len(samples) / RATE
        if isinstance(labels, list):
            known, speech = [], []
            for window in labels:
                start, end = window["window_s"]
                known.append((start, end))
                speech += [(start + a, start + b) for a, b in window["speech_s_in_window"]]
            yield samples, mask_of(speech, seconds), mask_of(known, seconds)
        elif "pattern (n=nonspeech,s=speech)" in labels:
            # One kind of sound in the whole file; of the mixed ones the times are not known.
            pattern = labels["pattern (n=nonspeech,s=speech)"]
            if pattern in ("n", "s"):
                whole = [(0.0, seconds)]
                yield samples, mask_of(whole if pattern == "s" else [], seconds), mask_of(whole, seconds)


def conversations(data: Path) -> Iterator[Labelled]:
    for rttm in sorted((data / "diarization").glob("*/rttm/*.rttm")):
        found = list((rttm.parent.parent / "wavs").glob(f"{rttm.stem}.*"))
        if not found:
            continue
        samples = load_audio(found[0], RATE)
        seconds = len(samples) / RATE
        fields = [line.split() for line in rttm.read_text().splitlines() if line.startswith("SPEAKER")]
        speech = [(float(f[3]), float(f[3]) + float(f[4])) for f in fields]
        yield samples, mask_of(speech, seconds), mask_of([(0, seconds)], seconds)


def alignments(data: Path, every: int = 4) -> Iterator[Labelled]:
    folder = data / "asr" / "aishell_sample"
    paths = dict(line.split(maxsplit=1) for line in (folder / "wav.scp").read_text().splitlines())
    speech: dict[str, list[tuple[float, float]]] = {}
    for line in (folder / "phones.ctm").read_text().splitlines():
        key, _, start, duration, phone = line.split()[:5]
        if phone != "SIL":
            speech.setdefault(key, []).append((float(start), float(start) + float(duration)))
    for key in sorted(set(speech) & set(paths))[::every]:
        samples = load_audio(folder / paths[key], RATE)
        seconds = len(samples) / RATE
        yield samples, mask_of(speech[key], seconds), mask_of([(0, seconds)], seconds)


class Fsmn:
    def __init__(self, folder: Path) -> None:
        raw = load_yaml(folder / "config.yaml")
        self._network = FsmnVad.from_official(raw)
        load_weights(self._network, folder / "model.pt")
        self._network.eval()
        self._frontend = WavFrontend.from_official(raw["frontend_conf"], folder / "am.mvn")
        self._options = VadOptions.from_official(raw["model_conf"])
        self._detector = SpeechDetector(self._network, self._frontend, self._options)

    def segments(self, samples: NDArray[np.float32]) -> list[Segment]:
        return self._detector.segments(samples)

    def frames(self, samples: NDArray[np.float32]) -> Mask:
        scores, _ = self._network.score(self._frontend(samples)[None], self._network.initial_state())
        label: Mask = scores[0] <= (1 - self._options.speech_noise_thres) / 2
        return label


class F1:
    def __init__(self) -> None:
        self.hits = self.false = self.missed = 0

    def add(self, found: Mask, speech: Mask, known: Mask) -> None:
        count = min(len(found), len(speech))
        found, speech, known = found[:count], speech[:count], known[:count]
        self.hits += int((found & speech & known).sum())
        self.false += int((found & ~speech & known).sum())
        self.missed += int((~found & speech & known).sum())

    def __str__(self) -> str:
        f1 = 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)
        precision = self.hits / max(self.hits + self.false, 1)
        recall = self.hits / max(self.hits + self.missed, 1)
        return f"{100 * f1:5.1f} ({100 * precision:.0f}/{100 * recall:.0f})"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    bundled = Path(__file__).parent.parent / "funasr" / "bundled" / "fsmn-vad-small"
    parser.add_argument("--model", type=Path, nargs="*", default=[bundled])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)

    detectors: dict[str, Any] = {folder.name: Fsmn(folder) for folder in options.model}
    detectors["released fsmn-vad"] = Fsmn(options.data / "models" / "fsmn-vad-official")
    try:
        from funasr_onnx.silero import load_silero

        detectors["silero-vad"] = load_silero()
    except ImportError as error:
        print(error)
    sets: dict[str, Callable[[Path], Iterator[Labelled]]] = {
        "vad/small": hand_labelled,
        "conversations": conversations,
        "alignments": alignments,
    }
    print(f"{'F1 (precision/recall), %':26}" + "".join(f"{name:>36}" for name in sets))
    print(f"{'':26}" + f"{'segments':>18}{'frames':>18}" * len(sets))
    scores = {name: [(F1(), F1()) for _ in sets] for name in detectors}
    for column, read in enumerate(sets.values()):
        for samples, speech, known in read(options.data):
            for name, detector in detectors.items():
                segments, frames = scores[name][column]
                found = [(s.start_ms / 1000, s.end_ms / 1000) for s in detector.segments(samples)]
                segments.add(mask_of(found, len(samples) / RATE), speech, known)
                if isinstance(detector, Fsmn):
                    frames.add(detector.frames(samples), speech, known)
    for name, row in scores.items():
        cells = [f"{segments!s:>18}{str(frames) if frames.hits else '-':>18}" for segments, frames in row]
        print(f"{name:26}" + "".join(cells))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
