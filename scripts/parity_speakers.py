"""CAM++ and ERes2NetV2 against upstream's: the voice of whole clips, and of windows of 1.5 s."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from parity_table import Line, ask_reference, count_equal, ours, upstream

SEEDED_ERES = {"tiny": {"m_channels": 16, "embedding_size": 24, "num_blocks": [1, 2, 2, 1]}, "full": {}}


def speaker_worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    from funasr.models.campplus.utils import sv_chunk

    auto = upstream(job["model"])
    for clip in job["clips"]:
        samples = np.load(clip)
        cut = [chunk[2] for chunk in sv_chunk([[0, len(samples) / 16000, samples]])]
        yield (
            {
                "whole": auto.generate(input=samples)[0]["spk_embedding"],
                "windows": auto.generate(input=cut, batch_size=len(cut))[0]["spk_embedding"],
            },
            None,
        )


def eres_worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Upstream knows this class by the name of a repository only: built from its template's settings."""
    import torch
    from funasr.models.campplus.utils import extract_feature, sv_chunk
    from funasr.models.eres2net.eres2netv2 import ERes2NetV2

    network = ERes2NetV2(**job["conf"]).eval()
    network.load_state_dict(torch.load(job["weights"], weights_only=True), strict=True)
    for clip in job["clips"]:
        samples = np.load(clip)
        cut = [chunk[2] for chunk in sv_chunk([[0, len(samples) / 16000, samples]])]
        with torch.inference_mode():
            found = []
            for sounds in ([samples], cut):
                features = extract_feature([torch.from_numpy(np.float32(sound)) for sound in sounds])[0]
                found.append(network(features.float()))
        yield {"whole": found[0], "windows": found[1]}, None


def compare_speakers(models: Path, name: str, job: dict[str, Any], folder: Path) -> list[Line]:
    """The voice of whole clips, and of windows of 1.5 s."""
    directory = models / name
    worker = "parity_speakers:speaker_worker"
    if name.startswith("eres2netv2"):
        worker = "parity_speakers:eres_worker"
        conf = SEEDED_ERES[name.rpartition("-")[2]]
        directory = make_eres2netv2(conf, folder / name)
        job = {**job, "conf": conf, "weights": str(directory / "pretrained_eres2netv2.ckpt")}
    job = {**job, "model": str(directory)}
    model = ours(directory, job)
    lines = []
    for clip, path, (arrays, _) in zip(
        job["names"], job["clips"], ask_reference(worker, job, folder), strict=True
    ):
        samples = np.load(path)
        whole = model.generate(input=samples)[0]["spk_embedding"].numpy()
        windows = model.model.listen([samples])[0].voices
        pairs = {"whole": (whole, arrays["whole"]), "windows": (windows, arrays["windows"])}
        numbers = {key: unlike(own, theirs) for key, (own, theirs) in pairs.items()}
        lines.append(
            Line(
                model=name,
                given=clip[:16],
                decisions=count_equal(list(windows.shape), list(arrays["windows"].shape)),
                numbers=numbers,
            )
        )
    return lines


def unlike(own: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference as a share of the largest number of the voice: voices are compared by cosine."""
    if own.shape != theirs.shape:
        return float("inf")
    return float((np.abs(own - theirs).max(axis=-1) / np.abs(theirs).max(axis=-1)).max())


def make_eres2netv2(conf: Mapping[str, Any], out: Path) -> Path:
    """An ERes2NetV2 as the hub has it, a weight file alone, with random weights and statistics."""
    import torch

    from funasr.models.eres2net.network import Eres2NetV2

    out.mkdir(parents=True)
    torch.manual_seed(0)
    network = Eres2NetV2.from_official({"model_conf": dict(conf)})
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            state[key] = 0.5 + torch.rand_like(value)
        elif key.endswith("running_mean"):
            state[key] = 0.1 * torch.randn_like(value)
    torch.save(state, out / "pretrained_eres2netv2.ckpt")
    if conf:
        settings = {"model": "ERes2NetV2", "init_param": "pretrained_eres2netv2.ckpt", "model_conf": conf}
        (out / "config.yaml").write_text(json.dumps(settings))  # which is YAML too
    return out
