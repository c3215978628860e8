"""Our classes beside upstream's package, on graphs of both exporters: `make parity`, on small models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from funasr.config import load_yaml
from tests.conftest import ROOT
from tests.tiny_models import make_ct_punc

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("kind", ["ct-punc-272727", "ct-punc-streaming"])
def test_both_packages_say_the_same_of_graphs_of_both_exporters(
    reference_python: str, tmp_path: Path, bundled_dir: Path, kind: str
) -> None:
    live = kind == "ct-punc-streaming"
    folder = make_ct_punc(tmp_path / f"{kind}-tiny", "CTTransformerStreaming" if live else "CTTransformer")
    raw = load_yaml(folder / "config.yaml")
    # Upstream's own defaults are others.
    raw["encoder_conf"] |= {"input_size": 32, "input_layer": "pe", "selfattention_layer_type": "sanm"}
    (folder / "config.yaml").write_text(json.dumps(raw), encoding="utf-8")
    command = [sys.executable, "scripts/parity_onnx.py", "--models", str(tmp_path), "--kind", kind]
    clip = bundled_dir / "samples" / "digits-hts.flac"

    done = subprocess.run(
        [*command, "--audio", str(clip)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FUNASR_REFERENCE_PYTHON": reference_python},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "lines equal everywhere" in done.stdout
