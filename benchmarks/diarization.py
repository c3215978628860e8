"""Who speaks when, on recordings that nothing was trained on: diarization error rates by pyannote.metrics.

    pip install pyannote.metrics
    python benchmarks/diarization.py --data ../shared/data [--model NAME ...] [--vad NAME]

Recordings: 30 s of each of eight AMI meetings, and two dialogues (diarization/). The error is missed speech,
speech found in silence, and speech given to the wrong speaker, as shares of all speech; where two speak at
once both count, and one of them is always missed. A collar of 0.25 s leaves out 0.25 s beside every border.

Beside the model stand two ways of knowing nothing: everybody is one speaker, and every segment is a speaker.
"oracle" segments are where the labels say that somebody speaks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as Span
from pyannote.metrics.diarization import DiarizationErrorRate

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.result import Segment
from funasr.speakers.cluster import ClusterOptions
from funasr.stages.speaker import SpeakerEncoder, SpeakerOptions, diarize

RATE = 16000
ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "funasr" / "bundled"


@dataclass(frozen=True, kw_only=True)
class Recording:
    name: str
    samples: Samples
    truth: Annotation

    @property
    def whole(self) -> Timeline:
        return Timeline([Span(0, len(self.samples) / RATE)])


def recordings(data: Path) -> Iterator[Recording]:
    for rttm in sorted((data / "diarization").glob("*/rttm/*.rttm")):
        found = list((rttm.parent.parent / "wavs").glob(f"{rttm.stem}.*"))
        if not found:
            continue
        truth = Annotation(uri=rttm.stem)
        fields = [line.split() for line in rttm.read_text().splitlines() if line.startswith("SPEAKER")]
        for number, field in enumerate(fields):
            start = float(field[3])
            truth[Span(start, start + float(field[4])), number] = field[7]
        yield Recording(
            name=f"{rttm.parent.parent.name}/{rttm.stem}",
            samples=load_audio(found[0], RATE),
            truth=truth,
        )


def oracle(recording: Recording) -> list[Segment]:
    return [
        Segment(start_ms=round(span.start * 1000), end_ms=round(span.end * 1000))
        for span in recording.truth.get_timeline().support()
    ]


def annotation(found: Sequence[tuple[int, int, object]]) -> Annotation:
    """(start_ms, end_ms, speaker) -> what pyannote.metrics takes."""
    made = Annotation()
    for number, (start, end, speaker) in enumerate(found):
        if end > start:
            made[Span(start / 1000, end / 1000), number] = str(speaker)
    return made


def listener(encoder: SpeakerEncoder, cluster: dict[str, object]) -> Callable[..., Annotation]:
    """The stage itself, with the model's own thresholds."""

    def tell(recording: Recording, segments: Sequence[Segment], count: int | None) -> Annotation:
        cuts = [recording.samples[s.start_ms * 16 : s.end_ms * 16] for s in segments]
        own = {"merge_thr": encoder.thresholds.merge_thr, "split_thr": encoder.thresholds.split_thr}
        clusters = ClusterOptions.from_official({**own, **cluster, "count": count})
        if not cluster:
            clusters = replace(clusters, spread=encoder.thresholds.spread())
        options = SpeakerOptions(cluster=clusters)
        turns = diarize(segments, encoder.listen(cuts), options).turns
        return annotation([(turn.start_ms, turn.end_ms, turn.speaker) for turn in turns])

    return tell


def one_speaker(recording: Recording, segments: Sequence[Segment], count: int | None) -> Annotation:
    return annotation([(segment.start_ms, segment.end_ms, 0) for segment in segments])


def each_its_own(recording: Recording, segments: Sequence[Segment], count: int | None) -> Annotation:
    return annotation([(s.start_ms, s.end_ms, number) for number, s in enumerate(segments)])


class Score:
    """Error rates over some recordings, with both collars; meetings by themselves too."""

    def __init__(self) -> None:
        # pyannote's collar is the whole width of what is left out.
        self._all = {name: DiarizationErrorRate(collar=2 * float(name)) for name in ("0.25", "0")}
        self._meetings = {name: DiarizationErrorRate(collar=2 * float(name)) for name in ("0.25", "0")}

    def add(self, recording: Recording, found: Annotation) -> float:
        rates = []
        for name, metric in self._all.items():
            rates.append(float(metric(recording.truth, found, uem=recording.whole)))
            if recording.name.startswith("ami"):
                self._meetings[name](recording.truth, found, uem=recording.whole)
        return rates[0]

    def cells(self) -> list[str]:
        rates = [abs(metric) for metrics in (self._all, self._meetings) for metric in metrics.values()]
        parts = self._all["0.25"][:]
        shares = [parts[name] / parts["total"] for name in ("missed detection", "false alarm", "confusion")]
        return [f"{100 * rate:.1f}" for rate in rates] + ["/".join(f"{100 * x:.1f}" for x in shares)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="*", default=[str(BUNDLED / "campplus-small")])
    parser.add_argument("--vad", default=str(BUNDLED / "fsmn-vad-small"))
    parser.add_argument("--merge-thr", type=float, help="instead of the model's own")
    parser.add_argument("--split-thr", type=float)
    parser.add_argument("--files", action="store_true", help="a line a recording too (collar 0.25)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)

    detector = AutoModel(model=options.vad, disable_pbar=True).model
    given = {
        name: getattr(options, name)
        for name in ("merge_thr", "split_thr")
        if getattr(options, name) is not None
    }
    tellers: dict[str, Callable[..., Annotation]] = {
        "all one speaker": one_speaker,
        "each segment its own": each_its_own,
    }
    for name in options.model:
        encoder = AutoModel(model=name, disable_pbar=True).model
        tellers[Path(name).name] = listener(encoder, given)
    every = list(recordings(options.data))
    kinds: dict[str, Callable[[Recording], list[Segment]]] = {
        "detected": lambda one: detector.segments(one.samples),
        "oracle": oracle,
    }
    print(f"{'diarization error, %':58}{'all':>16}{'meetings':>16}{'missed/false/confused':>24}")
    print(f"{'segments':10}{'speakers':10}{'':38}" + f"{'collar 0.25':>11}{'0':>5}" * 2)
    for kind, find in kinds.items():
        segments = {one.name: find(one) for one in every}
        for known in (False, True):
            for name, tell in tellers.items():
                if known and tell in (one_speaker, each_its_own):
                    continue
                score, lines = Score(), []
                for one in every:
                    found = tell(one, segments[one.name], len(one.truth.labels()) if known else None)
                    rate = score.add(one, found)
                    lines.append(
                        f"    {one.name:34}{100 * rate:8.1f}   speakers {len(found.labels())} "
                        f"for {len(one.truth.labels())}"
                    )
                cells = score.cells()
                print(
                    f"{kind:10}{'known' if known else 'unknown':10}{name:38}"
                    + f"{cells[0]:>11}{cells[1]:>5}{cells[2]:>11}{cells[3]:>5}{cells[4]:>24}",
                    flush=True,
                )
                if options.files:
                    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
