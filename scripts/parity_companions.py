"""What stands beside a Paraformer, against upstream's: punctuation, SenseVoice, alignment; all kinds by name.

Each kind has a worker, which computes upstream's half under its Python, and a function that computes ours
and compares; those of voices and of whole pipelines have files of their own. Texts are made of words of the
vocabulary, the same on both sides.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from parity_pipeline import compare_pipeline
from parity_speakers import compare_speakers
from parity_table import Line, ask_reference, count_equal, largest, ours, read_clips, same, upstream

Worked = Iterator[tuple[dict[str, Any], Any]]
LENGTHS = (1, 3, 19, 20, 21, 60, 150, 400, 3000)
"""Words of the texts."""
LANGUAGES = ({"language": "auto"}, {"language": "zh"}, {"language": "en", "use_itn": True})
PHRASES_OF_DICTIONARY = ("今天", "天气", "我们", "公园", "一丁", "七万", "万丈", "三上")


def compare(kind: str, models: Path, size: str, clips: Sequence[Path], threads: int) -> list[Line]:
    """All lines of one kind and size."""
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {"threads": threads, "clips": read_clips(clips, folder), "names": [clip.stem for clip in clips]}
        return KINDS[kind](models, f"{kind}-{size}", job, folder)


# ------------------------------------------------------------------------------------------ punctuation


def made_up(
    tokens: Sequence[str], count: int, seed: int, marks: bool = False, more: Sequence[str] = ()
) -> str:
    """A text of that many words of the vocabulary, in Chinese, English, or mixed; one in six of `more`."""
    rng = random.Random(seed)
    share = rng.choice([0.0, 0.1, 0.5, 1.0])
    chinese = [token for token in tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fa5"]
    english = [token for token in tokens if len(token) > 1 and token.isascii() and token.isalpha()]
    words = []
    for _ in range(count):
        words.append(f" {rng.choice(english)} " if rng.random() < share else rng.choice(chinese))
        if more and rng.random() < 0.2:
            words.append(rng.choice(more))
        if marks and rng.random() < 0.02:
            words.append(rng.choice(["。", "，", "？", "!", ",", "12", " It's "]))
    return "".join(words).strip()


def punctuation_worker(job: dict[str, Any]) -> Worked:
    import torch

    auto = upstream(job["model"])
    for ids, boundary in job["ids"]:
        more = {"vad_indexes": torch.tensor([boundary], dtype=torch.int32)} if job["live"] else {}
        with torch.no_grad():
            scores = auto.model.punc_forward(
                text=torch.tensor([ids]), text_lengths=torch.tensor([len(ids)], dtype=torch.int32), **more
            )[0]
        yield {"scores": scores[0]}, None
    if job["live"]:
        for calls in job["texts"]:
            cache: dict[str, Any] = {}
            yield {}, [auto.generate(input=text, cache=cache)[0]["text"] for text in calls]
    else:
        for text in job["texts"]:
            record = auto.generate(input=text)[0]
            yield {}, [record["text"], record["punc_array"].tolist()]


def compare_punctuation(models: Path, name: str, job: dict[str, Any], folder: Path) -> list[Line]:
    """Scores of random ids, then texts with their labels: one call of all texts, upstream one by one."""
    live = "streaming" in name
    directory = models / name
    tokens = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
    lines = []
    rng = np.random.default_rng(0)
    windows = [(rng.integers(0, len(tokens), n).tolist(), b) for n, b in ((20, 0), (60, 7), (240, 100))]
    texts: list[Any] = [
        made_up(tokens, n, seed, marks=True, more=PHRASES_OF_DICTIONARY) for seed, n in enumerate(LENGTHS)
    ]
    if live:  # a window of one word fails upstream
        texts = [[made_up(tokens, n, seed + n, marks=True) for n in (7, 20, 3, 55)] for seed in range(6)]
    job = {**job, "ids": windows, "texts": texts, "live": live}
    dictionaries = [False, True] if "471067" in name else [False]
    for dictionary in dictionaries:
        opened = with_dictionary(directory, folder / "jieba") if dictionary else directory
        theirs = list(
            ask_reference("parity_companions:punctuation_worker", {**job, "model": str(opened)}, folder)
        )
        model = ours(opened, job)
        title = name + (" + jieba" if dictionary else "")
        for window, (arrays, _) in zip(windows, theirs, strict=False):
            lines.append(_scores_line(title, model.model.network, window, arrays["scores"], live))
        answers = [result for _, result in theirs[len(windows) :]]
        if live:
            lines.append(_live_line(title, model, texts, answers))
            continue
        records = model.generate(input=texts)
        own = [label for record in records for label in record["punc_array"].tolist()]
        lines.append(
            Line(
                model=title,
                given=f"{len(texts)} texts, 1 to {max(LENGTHS)} words",
                decisions=count_equal(own, [label for _, labels in answers for label in labels]),
                results=same("text", [record["text"] for record in records], [text for text, _ in answers]),
            )
        )
    return lines


def _scores_line(title: str, network: Any, window: tuple[Any, int], theirs: np.ndarray, live: bool) -> Line:
    import torch

    ids, boundary = window
    with torch.inference_mode():
        scores = network(
            torch.tensor([ids]), torch.tensor([len(ids)]), torch.tensor([boundary]), padded=False
        )[0].numpy()
    return Line(
        model=title,
        given=f"{len(ids)} ids" + (f", {boundary} known" if live else ""),
        decisions=count_equal(scores.argmax(1), theirs.argmax(1)),
        numbers={"scores": largest(scores, theirs)},
    )


def _live_line(title: str, model: Any, texts: Sequence[Sequence[str]], answers: Sequence[list[str]]) -> Line:
    own = []
    for calls in texts:
        cache: dict[str, Any] = {}
        own.append([model.generate(input=text, cache=cache)[0]["text"] for text in calls])
    calls = sum(map(len, texts))
    return Line(
        model=title,
        given=f"{len(texts)} live texts, {calls} calls",
        decisions=count_equal([t for row in own for t in row], [t for row in answers for t in row]),
        results=same("text", own, answers),
    )


def with_dictionary(directory: Path, out: Path) -> Path:
    """The same model with a dictionary of jieba, as ModelScope has it."""
    out.mkdir()
    for file in directory.iterdir():
        (out / file.name).symlink_to(file.resolve())
    (out / "configuration.json").unlink()
    (out / "jieba_usr_dict").write_text(
        "".join(f"{word} 1000\n" for word in PHRASES_OF_DICTIONARY), encoding="utf-8"
    )
    raw = json.loads((directory / "configuration.json").read_text())
    raw["file_path_metas"]["jieba_usr_dict"] = "jieba_usr_dict"
    (out / "configuration.json").write_text(json.dumps(raw))
    return out


# ------------------------------------------------------------------------------------------- SenseVoice


def sense_voice_worker(job: dict[str, Any]) -> Worked:
    import torch

    auto = upstream(job["model"])
    model, frontend = auto.model, auto.kwargs["frontend"]
    for clip in job["clips"]:
        samples = np.load(clip)
        with torch.no_grad():
            features, _ = frontend(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
            asked = model.embed(torch.tensor([[0, 1, 2, 15]]))
            x = torch.cat([asked, features], dim=1)
            hidden, _ = model.encoder(x, torch.tensor([x.shape[1]]))
            scores = model.ctc.log_softmax(hidden)
        texts = [auto.generate(input=samples, **how)[0]["text"] for how in LANGUAGES]
        timed = auto.generate(input=samples, output_timestamp=True)[0]
        # Upstream leaves the mark on a first word, and counts tags amid the text as words; we do neither.
        pairs = zip(timed.get("words") or [], timed.get("timestamp") or [], strict=True)
        pairs = [(word.lstrip("\u2581"), time) for word, time in pairs if not word.startswith("<|")]
        results = {"texts": texts, "words": [w for w, _ in pairs], "timestamp": [t for _, t in pairs]}
        yield {"features": features, "encoder": hidden, "log_probs": scores}, results


def compare_sense_voice(models: Path, name: str, job: dict[str, Any], folder: Path) -> list[Line]:
    import torch

    directory = without_lone_starts(models / name, folder / name)
    job = {**job, "model": str(directory)}
    model = ours(directory, job)
    network = model.model.network
    lines = []
    asked = zip(
        job["names"],
        job["clips"],
        ask_reference("parity_companions:sense_voice_worker", job, folder),
        strict=True,
    )
    for clip, path, (arrays, theirs) in asked:
        samples = np.load(path)
        features = arrays["features"]
        with torch.inference_mode():
            queries = torch.tensor([0, 1, 2, 15])
            hidden = network(
                torch.from_numpy(features), torch.tensor([features.shape[1]]), queries, padded=False
            )
            scores = network.ctc(hidden).log_softmax(-1)
        own = [model.generate(input=samples, **how)[0]["text"] for how in LANGUAGES]
        words, times = timed_words(model, samples)
        lines.append(
            Line(
                model=name,
                given=clip[:16],
                decisions=count_equal(
                    scores[0].argmax(-1).tolist(), arrays["log_probs"][0].argmax(-1).tolist()
                ),
                numbers={
                    "encoder": largest(hidden.numpy(), arrays["encoder"]),
                    "log-probs": largest(scores.numpy(), arrays["log_probs"]),
                },
                results=", ".join(
                    (
                        same("3 texts", own, theirs["texts"]),
                        same("words", words, theirs["words"]),
                        same("timestamp", times, theirs["timestamp"]),
                    )
                ),
            )
        )
    return lines


def timed_words(model: Any, samples: np.ndarray) -> tuple[list[str], list[list[int | None]]]:
    """Words and times as upstream gives them: without the first four pieces, which it takes for tags."""
    [transcript] = model.transcribe(samples, output_timestamp=True)
    tokens = list(transcript.tokens)
    tags = [tag.at for segment in transcript.segments for tag in segment.tags]
    left_out = 4 - tags.count(0)
    for place in range(1, len(tokens) + 1):
        if left_out <= 0:
            break
        # Random weights say tags in the middle of a text, too.
        left_out -= len(tokens.pop(0).ids) + tags.count(place)
    return [token.text for token in tokens], [[token.start_ms, token.end_ms] for token in tokens]


def without_lone_starts(directory: Path, out: Path) -> Path:
    """The same model, its vocabulary without the blank that SentencePiece puts before a text.

    Upstream spells every piece again to find its time, and fails where that gives more than one id, which a
    character with a blank before it is in the vocabularies of random models.
    """
    out.mkdir()
    for file in directory.iterdir():
        if file.name.endswith(".bpe.model"):
            raw = file.read_bytes()
            assert raw.endswith(b"\x18\x01"), "add_dummy_prefix is not the last setting"
            (out / file.name).write_bytes(raw[:-1] + b"\x00")
        else:
            (out / file.name).symlink_to(file.resolve())
    return out


# -------------------------------------------------------------------------------------------- alignment


def aligner_worker(job: dict[str, Any]) -> Worked:
    import torch

    auto = upstream(job["model"])
    model, frontend = auto.model, auto.kwargs["frontend"]
    for clip, text, count in zip(job["clips"], job["texts"], job["counts"], strict=True):
        samples = np.load(clip)
        with torch.no_grad():
            features, lengths = frontend(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
            memory, lengths = model.encode(features, lengths)[:2]
            alphas = model.calc_predictor_timestamp(memory, lengths, torch.tensor([count + 1]))[2]
        record = auto.generate(input=(samples, text), data_type=("sound", "text"))[0]
        results = {"text": record["text"], "timestamp": record["timestamp"]}
        yield {"features": features, "encoder": memory, "alphas": alphas}, results


def compare_aligner(models: Path, name: str, job: dict[str, Any], folder: Path) -> list[Line]:
    """Texts of three words a second, blanks single: upstream hears two as an unknown word between them."""
    import torch

    tokens = json.loads((models / name / "tokens.json").read_text(encoding="utf-8"))
    listed = {line.split()[0] for line in (models / name / "seg_dict").read_text("utf-8").splitlines()}
    model = ours(models / name, job)
    network = model.model.network
    spoken = [token for token in tokens if token in listed]
    seconds = [len(np.load(clip)) / 16000 for clip in job["clips"]]
    texts = [" ".join(made_up(spoken, max(int(s * 3), 1), seed).split()) for seed, s in enumerate(seconds)]
    counts = [len(model.model.pieces(text)) for text in texts]
    job = {**job, "model": str(models / name), "texts": texts, "counts": counts}
    lines = []
    answers = ask_reference("parity_companions:aligner_worker", job, folder)
    for clip, path, text, count, (arrays, theirs) in zip(
        job["names"], job["clips"], texts, counts, answers, strict=True
    ):
        features = arrays["features"]
        lengths = torch.tensor([features.shape[1]])
        with torch.inference_mode():
            memory = network.encoder(torch.from_numpy(features), None)
            alphas = network(torch.from_numpy(features), lengths, padded=False).numpy()
        scaled = alphas * (np.float32(count + 1) / alphas.sum(dtype=np.float64))
        record = model.generate(input=(np.load(path), text), data_type=("sound", "text"))[0]
        lines.append(
            Line(
                model=name,
                given=f"{clip[:16]} + {count} tokens",
                decisions=count_equal(record["timestamp"], theirs["timestamp"]),
                numbers={
                    "encoder": largest(memory.numpy(), arrays["encoder"]),
                    "alphas": largest(scaled, arrays["alphas"]),
                },
                results=same("text", record["text"], theirs["text"]),
            )
        )
    return lines


KINDS: dict[str, Callable[[Path, str, dict[str, Any], Path], list[Line]]] = {
    "ct-punc-272727": compare_punctuation,
    "ct-punc-471067": compare_punctuation,
    "ct-punc-streaming": compare_punctuation,
    "sensevoice": compare_sense_voice,
    "fa-zh": compare_aligner,
    "cam++": compare_speakers,
    "eres2netv2": compare_speakers,
    "pipeline": compare_pipeline,
}
