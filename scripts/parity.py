"""Our networks and pipelines against upstream's, number by number, on the same weights and real recordings.

    python scripts/parity.py --models DIR --audio a.wav b.wav ... [--size tiny] [--size full] [--kind KIND]

DIR holds random model directories KIND-SIZE. FUNASR_REFERENCE_PYTHON names a Python with upstream installed;
this file runs itself there as a worker that computes upstream's half. Contextual and ERes2NetV2 have no such
directory: one is made here, with random weights. Batch 1 throughout: upstream's larger batches depend on the
padding. This file compares the Paraformers, parity_streaming.py the one that hears chunks,
parity_companions.py, parity_speakers.py and parity_pipeline.py all that stands beside a recognizer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import parity_companions
import parity_streaming
from parity_table import Line, ask_reference, largest, print_table, read_clips, upstream, work

CLASSES = {
    "paraformer": "funasr.models.paraformer.network:Paraformer",
    "bicif-paraformer": "funasr.models.paraformer.bicif:BiCifParaformer",
    "seaco-paraformer": "funasr.models.paraformer.seaco:SeacoParaformer",
    "contextual-paraformer": "funasr.models.paraformer.contextual:ContextualParaformer",
}
PHRASE_COUNTS = {"seaco-paraformer": (None, 4, 70), "contextual-paraformer": (None, 4, 70)}


# ------------------------------------------------------------------------------------- upstream's half


def worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs under the reference's Python: model, clips and phrases in, arrays and results out."""
    import torch

    auto = upstream(job["model"])
    model, frontend = auto.model.eval(), auto.kwargs["frontend"]
    for clip in job["clips"]:
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
        yield (
            out,
            {
                name: auto.generate(input=np.load(clip), hotword=words)[0]
                for name, words in job["words"].items()
            },
        )


# ------------------------------------------------------------------------------------------- our half


def compare_model(kind: str, directory: Path, clips: Sequence[Path], threads: int) -> list[Line]:
    """All clips and phrase lists through both sides."""
    import importlib

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
        samples = read_clips(clips, folder)
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
        answers = ask_reference("parity:worker", job, folder)
        for clip, path, (reference, theirs), own in zip(clips, samples, answers, ours, strict=True):
            length_ms = len(np.load(path)) // 16
            for listed, phrases in lists.items():
                row = compare_clip(directory.name, network, clip.stem, reference, listed, phrases)
                rows.append(replace(row, results=compare_results(own[listed], theirs[listed], length_ms)))
    return rows


def compare_results(own: dict[str, Any], theirs: dict[str, Any], duration_ms: int) -> str:
    """What the two programs returned for the sound itself, key by key.

    Upstream's last word may end in a frame that the recording does not fill; ours ends with the recording.
    """
    said = []
    if "timestamp" in theirs:
        times = [[min(edge, duration_ms) for edge in pair] for pair in theirs["timestamp"]]
        theirs = {**theirs, "timestamp": times}
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
) -> Line:
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
    numbers = {
        "encoder": largest(encoded.memory.numpy(), reference["encoder"]),
        "alphas": largest(predicted.alphas.numpy(), reference["alphas"]),
        "log-probs": largest(log_probs.numpy(), theirs),
    }
    if "fine" in reference:
        numbers["fine"] = largest(row.alphas[None], reference["fine"])
    return Line(
        model=model,
        given=clip[:16] + ("" if phrases is None else f" + {len(phrases)} phrases"),
        decisions=f"{len(row.ids)} ="
        if equal == 0 and equal is not False
        else f"{equal} of {len(wanted)} differ",
        numbers=numbers,
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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+", default=[])
    parser.add_argument("--size", action="append", choices=["tiny", "full"])
    parser.add_argument(
        "--kind", action="append", choices=[*CLASSES, *parity_streaming.KINDS, *parity_companions.KINDS]
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        work(options.worker)
        return 0
    lines: list[Line] = []
    kinds = options.kind or [*CLASSES, *parity_streaming.KINDS, *parity_companions.KINDS]
    with tempfile.TemporaryDirectory() as made:
        for size in options.size or ["tiny"]:
            for kind in kinds:
                directory = options.models / f"{kind}-{size}"
                if kind in parity_streaming.KINDS:
                    lines += parity_streaming.compare(
                        kind, options.models, size, options.audio, options.threads
                    )
                    continue
                if kind in parity_companions.KINDS:
                    lines += parity_companions.compare(
                        kind, options.models, size, options.audio, options.threads
                    )
                    continue
                if kind == "contextual-paraformer" and not directory.is_dir():
                    directory = make_contextual(
                        options.models / f"paraformer-{size}", Path(made) / directory.name
                    )
                lines += compare_model(kind, directory, options.audio, options.threads)
    return 0 if print_table(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
