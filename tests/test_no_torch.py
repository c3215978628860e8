"""Both packages work where torch is absent: voice activity detection through onnxruntime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from funasr.export.onnx import export_network
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.fsmn import FsmnConfig

CONFIG = """\
model: FsmnVADStreaming
model_conf: {max_end_silence_time: 300}
encoder: FSMN
encoder_conf: {input_dim: 400, input_affine_dim: 4, fsmn_layers: 1, linear_dim: 4, proj_dim: 2, lorder: 3,
  output_affine_dim: 4, output_dim: 2}
frontend: WavFrontendOnline
frontend_conf: {fs: 16000, window: hamming, n_mels: 80, dither: 0.0, lfr_m: 5, lfr_n: 1}
"""

# A finder that answers before any other is what "not installed" looks like, wherever the import stands.
PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

import numpy as np
import funasr
import funasr_onnx

samples = np.zeros(16000 * 4, np.float32)
samples[16000 : 16000 * 3] = 0.3 * np.sin(np.arange(32000) * 0.2)
print(funasr_onnx.Fsmn_vad(sys.argv[1], intra_op_num_threads=1)(samples))
assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("torch was there all the same")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny detector that calls loud frames speech."""
    config = FsmnConfig(
        input_affine_dim=4,
        fsmn_layers=1,
        linear_dim=4,
        proj_dim=2,
        lorder=3,
        output_affine_dim=4,
        output_dim=2,
    )
    network = FsmnVad(FsmnVadConfig(encoder=config))
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        encoder = network.encoder
        encoder.in_linear1.linear.weight[0] = 1 / 400  # the mean log energy: of digital silence it is -16
        encoder.in_linear2.linear.weight[0, 0] = 1.0
        layer = encoder.fsmn[0]
        layer.linear.linear.weight[0, 0] = 1.0
        layer.affine.linear.weight[0, 0] = 1.0
        encoder.out_linear1.linear.weight[0, 0] = 1.0
        encoder.out_linear2.linear.weight[1, 0] = 10.0
        encoder.out_linear2.linear.bias[1] = -5.0
    export_network(network, tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_both_packages_find_speech_with_torch_absent(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[[720, 3160]]]"  # LFR looks two frames ahead
