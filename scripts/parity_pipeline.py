"""Whole pipelines against upstream's: recognizer, detector, punctuation and speakers over real recordings.

What we do otherwise on purpose is undone before comparing, so that what is left would be a fault:

* Upstream capitalizes the first word of a sentence and writes a blank before it where a window of the
  punctuation model begins; we never alter a word. Texts are compared without case and blanks.
* Upstream cuts the text of sentences at its blanks, and joins the last Chinese character of a speech segment
  with the first of the next; from there on its sentences have the words of their neighbours.
  `upstream_words` joins them too.
* Upstream's choice of a sentence's speaker counts a turn twice; `speakers.assign.upstream_speaker` does too.
* Upstream's last word may end in a frame that the recording does not fill; ours ends with the recording.
* Upstream calls everyone in fewer than 20 windows (15 s of speech) one speaker, even where it is told how
  many there are; here ours does too.
* Upstream's k-means has no seed of its own: it is asked for some draws, of which ours must be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from parity_table import Line, ask_reference, count_equal, same, upstream

SEEDS = 12
RECOGNIZERS = ("seaco-paraformer", "bicif-paraformer")
CALLS: tuple[dict[str, Any], ...] = (
    {},
    {"preset_spk_num": 2},
    {"preset_spk_num": 3, "return_raw_text": True},
)


def models_of(models: Path, recognizer: str, size: str) -> dict[str, Any]:
    return {
        "model": str(models / f"{recognizer}-{size}"),
        "vad_model": str(models / f"fsmn-vad-{size}"),
        "punc_model": str(models / f"ct-punc-272727-{size}"),
        "spk_model": str(models / f"cam++-{size}"),
        "vad_kwargs": {"dynamic_silence": False},  # upstream's schedule for long speech cuts elsewhere
    }


def worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    auto = upstream(**job["models"])
    auto.cb_model = draws = Draws(auto.cb_model)
    detector = upstream(job["models"]["vad_model"], dynamic_silence=False)
    for clip in job["clips"]:
        sound = np.load(clip)
        segments = detector.generate(input=sound)[0]["value"]
        records = []
        for how in CALLS:
            draws.labels.clear()
            records.append({**auto.generate(input=sound, **how)[0], "draws": list(draws.labels)})
        yield {}, {"segments": segments, "records": records}


class Draws:
    """Upstream's clustering from several states of the random generator; the first one counts."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.labels: list[list[int]] = []

    def __call__(self, voices: Any, **how: Any) -> Any:
        found = []
        for seed in range(SEEDS):
            np.random.seed(seed)
            found.append(np.asarray(self.backend(voices, **how)))
        self.labels += [by_appearance(labels.tolist()) for labels in found]
        return found[0]


def by_appearance(labels: Sequence[int]) -> list[int]:
    order = list(dict.fromkeys(labels))
    return [order.index(label) for label in labels]


def compare_pipeline(models: Path, name: str, job: dict[str, Any], folder: Path) -> list[Line]:
    from funasr import AutoModel

    size = name.rpartition("-")[2]
    lines = []
    for recognizer in RECOGNIZERS:
        parts = models_of(models, recognizer, size)
        ours = AutoModel(**parts, device="cpu", ncpu=job["threads"], disable_pbar=True)
        answers = ask_reference("parity_pipeline:worker", {**job, "models": parts}, folder)
        for clip, path, (_, theirs) in zip(job["names"], job["clips"], answers, strict=True):
            for how, record in zip(CALLS, theirs["records"], strict=True):
                with patch("funasr.speakers.cluster._pairwise", one_speaker):
                    line = compare_call(ours, np.load(path), how, record, theirs["segments"])
                given = f"{clip[:16]} {' '.join(f'{key}={value}' for key, value in how.items())}"
                lines.append(Line(model=f"{recognizer} + 3, {size}", given=given.strip(), **line))
    return lines


def one_speaker(rows: np.ndarray, options: Any) -> np.ndarray:
    """What upstream makes of few windows."""
    return np.zeros(len(rows), dtype=np.int64)


def compare_call(
    model: Any, sound: np.ndarray, how: dict[str, Any], theirs: dict[str, Any], segments: list[list[int]]
) -> dict[str, str]:
    """One call on both sides."""
    [transcript] = model.transcribe(sound, **how)
    theirs = bounded(theirs, len(sound) // 16)
    record = model.generate(input=sound, **how)[0]
    own, wanted = record["sentence_info"], theirs["sentence_info"]
    found = [[segment.start_ms, segment.end_ms] for segment in transcript.segments]
    edges = ("start", "end", "timestamp")
    said = [
        same("text", bare(record["text"]), bare(theirs["text"])),
        same("timestamp", record["timestamp"], theirs["timestamp"]),
        same("segments", found, segments),
        same("sentences' times", *([[s[key] for key in edges] for s in one] for one in (own, wanted))),
        same("their texts", upstream_texts(transcript, own), [bare(s["text"]) for s in wanted]),
    ]
    labels = label_windows(model, sound, segments, how.get("preset_spk_num"))
    said.append(
        "windows' speakers " + ("=" if labels in theirs["draws"] else "DIFFER in every draw: DIFFERS")
    )
    if labels == theirs["draws"][0]:
        said.append(
            same("sentences' speakers", upstream_speakers(transcript, own), [s["spk"] for s in wanted])
        )
    else:
        said.append("another draw")
    if "raw_text" in theirs:
        said.append(same("raw_text", record["raw_text"].split(), theirs["raw_text"].split()))
    other = sum(s["spk"] != t["spk"] for s, t in zip(own, wanted, strict=False))
    shifted = sum(bare(s["text"]) != bare(t["text"]) for s, t in zip(own, wanted, strict=False))
    said.append(f"({shifted} sentences with words of a neighbour upstream, {other} with another speaker)")
    marks = [mark_of(sentence["text"]) for sentence in own]
    return {
        "decisions": count_equal(marks, [mark_of(sentence["text"]) for sentence in wanted]),
        "results": ", ".join(said),
    }


def bounded(record: dict[str, Any], limit_ms: int) -> dict[str, Any]:
    """The record with no time behind the end of the recording."""

    def cut(times: list[list[int]]) -> list[list[int]]:
        return [[min(edge, limit_ms) for edge in pair] for pair in times]

    sentences = [
        {**s, "end": min(s["end"], limit_ms), "timestamp": cut(s["timestamp"])}
        for s in record["sentence_info"]
    ]
    return {**record, "timestamp": cut(record["timestamp"]), "sentence_info": sentences}


def label_windows(model: Any, sound: np.ndarray, segments: list[list[int]], count: int | None) -> list[int]:
    """The speaker of each window of 1.5 s, numbered as they appear."""
    from funasr.speakers.cluster import ClusterOptions, cluster

    heard = model.spk_model.listen([sound[start * 16 : end * 16] for start, end in segments])
    voices = np.concatenate([one.voices for one in heard])
    found: list[int] = cluster(voices, ClusterOptions(count=count)).tolist()
    return found


def bare(text: str) -> str:
    return "".join(text.split()).lower()


def mark_of(text: str) -> str:
    return text[-1:]


def upstream_texts(transcript: Any, sentences: Sequence[dict[str, Any]]) -> list[str]:
    """The text that upstream gives to each of our sentences."""
    words = upstream_words(transcript)
    texts, first = [], 0
    for sentence in sentences:
        stop = first + len(sentence["timestamp"])
        texts.append(bare("".join(words[first:stop]) + mark_of(sentence["text"])))
        first = stop
    return texts


def upstream_words(transcript: Any) -> list[str]:
    """The words, those that meet at the border of two segments as one where both are Chinese."""
    words: list[str] = []
    for segment in transcript.segments:
        heard = [token.text for token in transcript.tokens[segment.first_token : segment.stop_token]]
        if words and heard and is_han(words[-1][-1]) and is_han(heard[0][0]):
            words[-1] += heard.pop(0)
        words += heard
    return words


def is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff"


def upstream_speakers(transcript: Any, sentences: Sequence[dict[str, Any]]) -> list[Any]:
    from funasr.speakers.assign import upstream_speaker

    return [upstream_speaker(transcript.turns, s["start"], s["end"]) for s in sentences]
