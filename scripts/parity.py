"""Our Paraformer networks against upstream's, number by number, on the same weights and real recordings.

    python scripts/parity.py --models DIR --audio a.wav b.wav ... [--size tiny] [--size full]

DIR holds random model directories KIND-SIZE. FUNASR_REFERENCE_PYTHON names a Python with upstream installed;
this file runs itself there as a worker that computes upstream's half. Contextual has no such directory: one
is made here, with random weights. Batch 1 throughout: upstream's larger batches depend on the padding.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = {
    "paraformer": "funasr.models.paraformer.network:Paraformer",
    "bicif-paraformer": "funasr.models.paraformer.bicif:BiCifParaformer",
    "seaco-paraformer": "funasr.models.paraformer.seaco:SeacoParaformer",
    "contextual-paraformer": "funasr.models.paraformer.contextual:ContextualParaformer",
}
PHRASE_COUNTS = {"seaco-paraformer": (None, 4, 70), "contextual-paraformer": (None, 4, 70)}


@dataclass(frozen=True)
class Row:
    """One line of the table: largest differences, and whether the decisions are the same."""

    model: str
    phrases: int | None
    clip: str
    ids: str
    encoder: float
    alphas: float
    fine: float | None
    log_probs: float
    text: str


# ------------------------------------------------------------------------------------- upstream's half


def worker(job_path: Path) -> None:
    """Runs under the reference's Python: model, clips and phrases in, arrays out."""
    import torch

    from funasr import AutoModel

    job = json.loads(job_path.read_text())
    torch.set_num_threads(job["threads"])
    auto = AutoModel(
        model=job["model"],
        device="cpu",
        ncpu=job["threads"],
        disable_update=True,
        disable_pbar=True,
        log_level="ERROR",
    )
    model, frontend = auto.model.eval(), auto.kwargs["frontend"]
    for number, clip in enumerate(job["clips"]):
        samples = torch.from_numpy(np.load(clip))[None]
        with torch.no_grad():
            features, lengths = frontend(samples, torch.tensor([samples.shape[1]]))
            memory, lengths = model.encode(features, lengths)[:2]
            embeds, count, alphas = model.calc_predictor(memory, lengths)[:3]
            count = count.round().long()
            out = {"features": features, "encoder": memory, "alphas": alphas}
            if hasattr(model, "calc_predictor_timestamp"):
                out["fine"] = model.calc_predictor_timestamp(memory, lengths, count)[2]
            for name, phrases in job["phrases"].items():
                listed = None if phrases is None else [*phrases, [1]]
                if hasattr(model, "_seaco_decode_with_ASF"):
                    logp = model._seaco_decode_with_ASF(memory, lengths, embeds, count, listed)
                elif "clas_scale" in job:
                    logp = model.cal_decoder_with_predictor(memory, lengths, embeds, count, listed or [[1]])[
                        0
                    ]
                else:
                    logp = model.cal_decoder_with_predictor(memory, lengths, embeds, count)[0]
                out[f"log_probs_{name}"] = logp
        results = {
            name: auto.generate(input=np.load(clip), hotword=words)[0] for name, words in job["words"].items()
        }
        (job_path.parent / f"{number}.json").write_text(json.dumps(results))
        np.savez(job_path.parent / f"{number}.npz", **{key: value.numpy() for key, value in out.items()})


def ask_reference(
    job: dict[str, Any], folder: Path
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """Upstream's arrays and result for each clip of the job."""
    python = os.environ.get("FUNASR_REFERENCE_PYTHON")
    if not python:
        raise SystemExit("set FUNASR_REFERENCE_PYTHON to a Python that has upstream funasr installed")
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    done = subprocess.run(
        [python, __file__, "--worker", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the reference failed on {job['model']}:\n{done.stderr[-2000:]}")
    for number in range(len(job["clips"])):
        with np.load(folder / f"{number}.npz") as arrays:
            yield dict(arrays), json.loads((folder / f"{number}.json").read_text())


# ------------------------------------------------------------------------------------------- our half


def compare_model(kind: str, directory: Path, clips: Sequence[Path], threads: int) -> list[Row]:
    """All clips and phrase lists through both sides."""
    import importlib

    import soundfile
    import soxr
    import torch

    from funasr.config import load_yaml
    from funasr.nn.packed import prepare_for_inference
    from funasr.nn.weights import load_weights, unallocated

    torch.set_num_threads(threads)
    module, name = CLASSES[kind].split(":")
    tokens = json.loads((directory / "tokens.json").read_text())
    with unallocated():
        network = getattr(importlib.import_module(module), name).from_official(
            load_yaml(directory / "config.yaml"), len(tokens), 560
        )
    load_weights(network, directory / "model.pt")
    prepare_for_inference(network)
    # Upstream hears characters that seg_dict lacks as <unk>; we look them up in the vocabulary.
    listed = {line.split()[0] for line in (directory / "seg_dict").read_text().splitlines() if line.split()}
    lists = {str(n): random_phrases(n, tokens, listed) for n in PHRASE_COUNTS.get(kind, (None,))}
    words = {name: None if ids is None else spell(ids, tokens) for name, ids in lists.items()}
    rows = []
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        samples = []
        for number, clip in enumerate(clips):
            sound, rate = soundfile.read(clip, dtype="float32")
            sound = soxr.resample(sound if sound.ndim == 1 else sound.mean(axis=1), rate, 16000)
            np.save(folder / f"clip{number}.npy", sound)
            samples.append(str(folder / f"clip{number}.npy"))
        job = {
            "model": str(directory),
            "clips": samples,
            "phrases": lists,
            "words": words,
            "threads": threads,
        }
        if kind == "contextual-paraformer":
            job["clas_scale"] = 1.0
        ours = our_results(directory, samples, words, threads)
        for clip, (reference, theirs), own in zip(clips, ask_reference(job, folder), ours, strict=True):
            for listed, phrases in lists.items():
                row = compare_clip(directory.name, network, clip.stem, reference, listed, phrases)
                rows.append(replace(row, text=compare_results(own[listed], theirs[listed])))
    return rows


def compare_results(own: dict[str, Any], theirs: dict[str, Any]) -> str:
    """What the two programs returned for the sound itself, key by key."""
    said = []
    for key in ("text", "timestamp"):
        if key in theirs:
            mine, wanted = own.get(key), theirs[key]
            same = mine == wanted
            # Upstream leaves a blank behind a word where it lost a dangling piece of the next one.
            blanks = key == "text" and not same and str(mine).replace(" ", "") == wanted.replace(" ", "")
            said.append(f"{key} {'=' if same else '= but for blanks' if blanks else 'DIFFERS'}")
    return ", ".join(said)


def our_results(
    directory: Path, clips: Sequence[str], words: dict[str, str | None], threads: int
) -> list[dict[str, dict[str, Any]]]:
    """Text and timestamps from the sound, by AutoModel, for each list of hotwords."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", ncpu=threads, disable_pbar=True)
    return [
        {name: model.generate(input=np.load(clip), hotword=given)[0] for name, given in words.items()}
        for clip in clips
    ]


def compare_clip(
    model: str,
    network: Any,
    clip: str,
    reference: dict[str, np.ndarray],
    listed: str,
    phrases: list[list[int]] | None,
) -> Row:
    """One clip's features through our network; differences to upstream's arrays."""
    import torch

    from funasr.stages.protocols import Hotwords

    features = reference["features"]
    lengths = np.array([features.shape[1]])
    hotwords = None
    if phrases is not None:
        hotwords = Hotwords(ids=tuple(map(tuple, phrases)), weights=(1.0,) * len(phrases))
    row = network.infer(features, lengths, hotwords)[0]
    with torch.inference_mode():
        encoded = network.encode(torch.from_numpy(features), torch.from_numpy(lengths), padded=False)
        predicted = network.predictor(encoded.memory, encoded.lengths)
        log_probs = our_log_probs(network, encoded, predicted, hotwords)
    theirs = reference[f"log_probs_{listed}"]
    wanted = theirs[0].argmax(axis=-1)
    equal = len(row.ids) == len(wanted) and int((row.ids != wanted).sum())
    return Row(
        model=model,
        phrases=None if phrases is None else len(phrases),
        clip=clip,
        ids=f"{len(row.ids)} =" if equal == 0 and equal is not False else f"{equal} of {len(wanted)} differ",
        encoder=largest(encoded.memory.numpy(), reference["encoder"]),
        alphas=largest(predicted.alphas.numpy(), reference["alphas"]),
        fine=largest(row.alphas[None], reference["fine"]) if "fine" in reference else None,
        log_probs=largest(log_probs.numpy(), theirs),
        text="",
    )


def our_log_probs(network: Any, encoded: Any, predicted: Any, hotwords: Any) -> Any:
    """(1, U, V) the distribution that decides, with upstream's own choice among more than 50 phrases.

    Upstream may list the "no hotword" entry twice, which we do not; here it is put in twice too, so that what
    is compared is the network.
    """
    import torch

    from funasr.models.paraformer.contextual import ContextualParaformer
    from funasr.models.paraformer.seaco import MOST_PHRASES
    from funasr.nn.layers import Padding

    embeds, counts = predicted.embeds, predicted.counts
    tokens = Padding.of(counts, embeds.shape[1])
    if isinstance(network, ContextualParaformer):
        phrases = network._phrases.phrases(hotwords, 1, network.bias_encoder)
        hidden = network.decoder.biased(embeds, tokens, encoded.memory, None, phrases)
        return network.decoder.logits(hidden).log_softmax(dim=-1)
    hidden = network.decode(embeds, counts, encoded)
    plain = network.decoder.logits(hidden).log_softmax(dim=-1)
    if hotwords is None:
        return plain
    phrases = network._phrases.phrases(hotwords, 1, network.bias_encoder)
    size = phrases.vectors.shape[1]
    if size > MOST_PHRASES:
        best = network.attended(hidden, tokens, phrases).topk(min(MOST_PHRASES, size - 1), dim=1).indices
        phrases = phrases.pick(torch.cat([best, torch.full_like(best[:, :1], size - 1)], dim=1))
    hot = network.hotword_logits(embeds, hidden, tokens, phrases).log_softmax(dim=-1)
    return torch.where((hot.argmax(dim=-1) == network.config.NO_BIAS)[..., None], plain, hot)


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference; infinite where the shapes differ."""
    return float(np.abs(ours - theirs).max(initial=0)) if ours.shape == theirs.shape else float("inf")


def random_phrases(count: int | None, tokens: Sequence[str], listed: Set[str]) -> list[list[int]] | None:
    """Reproducible phrases of 1 to 4 of the listed Chinese characters, as ids."""
    if count is None:
        return None
    rng = np.random.default_rng(count)
    characters = [i for i, token in enumerate(tokens) if token in listed and "\u4e00" <= token <= "\u9fa5"]
    return [rng.choice(characters, rng.integers(1, 5)).tolist() for _ in range(count)]


def spell(phrases: Sequence[Sequence[int]], tokens: Sequence[str]) -> str:
    """Phrases of ids -> hotwords as a user writes them."""
    return " ".join("".join(tokens[i] for i in ids) for ids in phrases)


# ------------------------------------------------------------------------- a Contextual model directory


def make_contextual(plain: Path, out: Path) -> Path:
    """A ContextualParaformer directory with random weights, in the shape of a plain one."""
    import shutil

    import torch
    from omegaconf import OmegaConf

    from funasr.config import load_yaml
    from funasr.models.paraformer.contextual import ContextualParaformer

    raw = load_yaml(plain / "config.yaml")
    size = raw["encoder_conf"]["output_size"]
    raw |= {"model": "ContextualParaformer", "decoder": "ContextualParaformerDecoder"}
    raw["model_conf"]["inner_dim"] = size
    out.mkdir(parents=True)
    for name in ("am.mvn", "tokens.json", "seg_dict", "configuration.json"):
        shutil.copy(plain / name, out / name)
    OmegaConf.save(OmegaConf.create(raw), out / "config.yaml")
    vocab = len(json.loads((plain / "tokens.json").read_text()))
    torch.manual_seed(0)
    network = ContextualParaformer.from_official(raw, vocab, 560)
    state = network.state_dict()
    # The random directory's own weights where names agree: its predictor fires as often as speech does.
    state |= {k: v for k, v in torch.load(plain / "model.pt", weights_only=True).items() if k in state}
    torch.save(state, out / "model.pt")
    return out


def print_table(rows: Sequence[Row]) -> None:
    head = ("model", "phrases", "clip", "ids", "encoder", "alphas", "fine", "log-probs", "end to end")
    lines = [head]
    for row in rows:
        phrases = "-" if row.phrases is None else str(row.phrases)
        fine = "-" if row.fine is None else f"{row.fine:.1e}"
        numbers = (f"{row.encoder:.1e}", f"{row.alphas:.1e}", fine, f"{row.log_probs:.1e}")
        lines.append((row.model, phrases, row.clip[:16], row.ids, *numbers, row.text))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+", default=[])
    parser.add_argument("--size", action="append", choices=["tiny", "full"])
    parser.add_argument("--kind", action="append", choices=list(CLASSES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        worker(options.worker)
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as made:
        for size in options.size or ["tiny"]:
            for kind in options.kind or list(CLASSES):
                directory = options.models / f"{kind}-{size}"
                if kind == "contextual-paraformer" and not directory.is_dir():
                    directory = make_contextual(
                        options.models / f"paraformer-{size}", Path(made) / directory.name
                    )
                rows += compare_model(kind, directory, options.audio, options.threads)
    print_table(rows)
    worst = max(max(row.encoder, row.alphas, row.log_probs, row.fine or 0.0) for row in rows)
    equal = all(row.ids.endswith("=") and "DIFFERS" not in row.text for row in rows)
    print(f"\nlargest difference {worst:.1e}; ids, texts, times {'equal everywhere' if equal else 'DIFFER'}")
    return 0 if equal and worst < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
