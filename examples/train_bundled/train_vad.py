"""Train the bundled voice activity detector: one command, one CPU thread, about a quarter of an hour.

    python examples/train_bundled/train_vad.py --data ../shared/data

The released fsmn-vad is the teacher: what it says of clean speech is what the student learns to say of the
same speech in noise, rooms and telephones. `vad_data.SOURCES` says on what.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn
from vad_data import SCALE, Recordings, Teacher, read_corpora

from funasr.arrays import Samples
from funasr.config import load_yaml
from funasr.export.onnx import export_network
from funasr.features.cmvn import compute_cmvn, write_cmvn
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.fsmn import FsmnConfig
from funasr.nn.weights import load_weights, read_checkpoint
from funasr.train.data import Batch
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig
from funasr.train.trainer import TrainConfig, Trainer, seed_everything

SEED = 2026
STUDENT = FsmnConfig(
    input_affine_dim=80,
    linear_dim=160,
    proj_dim=96,
    fsmn_layers=4,
    lorder=20,
    output_affine_dim=80,
    output_dim=2,
)
FRONTEND: dict[str, Any] = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "dither": 0.0,
    "lfr_m": 5,
    "lfr_n": 1,
}
MODEL_CONF: dict[str, Any] = {
    "sample_rate": 16000,
    "detect_mode": 1,
    "max_end_silence_time": 800,
    "max_start_silence_time": 3000,
    "window_size_ms": 200,
    "sil_to_speech_time_thres": 100,
    "speech_to_sil_time_thres": 100,
    "speech_2_noise_ratio": 1.0,
    "do_extend": 1,
    "lookback_time_start_point": 200,
    "lookahead_time_end_point": 100,
    "max_single_segment_time": 60000,
    "speech_noise_thres": 0.6,
    "sil_pdf_ids": [0],
    "frame_in_ms": 10,
    "frame_length_ms": 25,
}


class Distillation:
    """Cross entropy of each frame with the teacher's probability."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, FsmnVad)
        logits, _ = model(batch.features, model.initial_state(len(batch.keys)))
        known = batch.targets >= 0
        silence = batch.targets[known].float() / SCALE
        scores = F.log_softmax(logits[known], dim=-1)
        loss = -(silence * scores[:, 0] + (1 - silence) * scores[:, 1]).mean()
        # Where the two agree on what the endpointer asks: is silence less likely than 0.2?
        same = (scores[:, 0].exp() <= 0.2) == (silence <= 0.2)
        return loss, {"loss": loss.detach(), "acc": same.float().mean()}


def load_teacher(folder: Path) -> Teacher:
    raw = load_yaml(folder / "config.yaml")
    network = FsmnVad.from_official(raw)
    load_weights(network, folder / "model.pt")
    network.eval()
    frontend = WavFrontend.from_official(raw["frontend_conf"], folder / "am.mvn")

    def score(samples: Samples) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = network.score(frontend(samples)[None], network.initial_state())[0][0]
        return scores

    return score


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder with asr/, speaker/, noise_rir/, models/"
    )
    parser.add_argument("--out", type=Path, default=Path("funasr/bundled/fsmn-vad-small"))
    parser.add_argument("--work", type=Path, default=Path("exp/fsmn-vad-small"), help="checkpoints")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--recordings", type=int, default=1200, help="made up anew in each epoch")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    seed_everything(SEED)

    teacher = load_teacher(options.data / "models" / "fsmn-vad-official")
    train_corpus, valid_corpus = read_corpora(options.data)
    config = FrontendConfig(**FRONTEND)
    raw = Recordings(train_corpus, teacher, WavFrontend(config), 400, seed=SEED)
    cmvn = compute_cmvn(raw.features(0, index) for index in range(400))
    frontend = WavFrontend(config, cmvn)
    train = Recordings(train_corpus, teacher, frontend, options.recordings, seed=SEED + 1)
    valid = Recordings(valid_corpus, teacher, frontend, 100, seed=SEED + 2)

    model = FsmnVad(FsmnVadConfig(encoder=STUDENT))
    sampler = SamplerConfig(batch_size=8000, max_token_length=10_000, sort_size=64)
    # The rate falls as over a third more epochs, so that the checkpoints that are averaged still differ.
    updates = options.epochs * 4 // 3 * options.recordings * 1000 // 7200
    optimizer = build_optimizer(OptimConfig(optim="adamw", lr=2e-3, weight_decay=0.01), model.parameters())
    schedule = ScheduleConfig(scheduler="warmup_cosine", warmup_steps=100, total_steps=updates, final=0.01)
    trainer = Trainer(
        model,
        Distillation(),
        optimizer,
        build_scheduler(schedule, optimizer),
        TrainConfig(max_epoch=options.epochs, log_interval=50, grad_clip=5, seed=SEED, avg_nbest_model=6),
        sampler,
        options.work,
    )
    trainer.run(train, valid)

    best = trainer.average()
    assert best is not None
    model.load_state_dict(read_checkpoint(best))
    write_model(options.out, model.eval(), cmvn)
    return 0


def write_model(folder: Path, model: FsmnVad, cmvn: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    """The official layout, and the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "model": "FsmnVADStreaming",
        "model_conf": MODEL_CONF,
        "encoder": "FSMN",
        "encoder_conf": asdict(model.config.encoder),
        "frontend": "WavFrontendOnline",
        "frontend_conf": FRONTEND,
    }
    OmegaConf.save(OmegaConf.create(settings), folder / "config.yaml")
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    described = {
        "framework": "pytorch",
        "task": "voice-activity-detection",
        "model": {"type": "pytorch"},
        "file_path_metas": metas,
    }
    (folder / "configuration.json").write_text(json.dumps(described, indent=2) + "\n")
    write_cmvn(folder / "am.mvn", *cmvn)
    torch.save({name: weight.clone() for name, weight in model.state_dict().items()}, folder / "model.pt")
    export_network(model, folder)


if __name__ == "__main__":
    raise SystemExit(main())
