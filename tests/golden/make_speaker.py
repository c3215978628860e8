"""Golden results of upstream's speaker networks and diarization -> tests/golden/speaker/.

    PYTHON_OF_THE_REFERENCE tests/golden/make_speaker.py [TIMELINES OUT]

Reference: funasr 1.4.16, torch 2.13, scikit-learn 1.9, CPU. Weights and inputs are those of
seeded_speaker.py. networks.npz: tolerance 1e-4. diarization.json: windows and labels exact, turns to
10 ms (upstream halves in binary fractions of a second), sentences exact.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import seeded_speaker as seeded
import torch
from funasr.models.campplus.cluster_backend import ClusterBackend
from funasr.models.campplus.model import CAMPPlus
from funasr.models.campplus.utils import distribute_spk, postprocess, sv_chunk
from funasr.models.eres2net.eres2netv2 import ERes2NetV2

from funasr import AutoModel  # upstream's, in the environment of its own

OUT = Path(__file__).parent / "speaker"


def network(model):
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    state = {name: torch.from_numpy(np.asarray(value)) for name, value in seeded.weights(shapes).items()}
    model.load_state_dict(state)
    return model.eval()


def chunks(pieces):
    return sv_chunk([[a / 1000, b / 1000, np.zeros((b - a) * 16, np.float32)] for a, b in pieces])


def from_sound(model):
    """Voices of whole sounds and of their windows, through AutoModel."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "model.pt")
        lines = ["model: CAMPPlus", "model_conf:"]
        lines += [f"  {name}: {value}" for name, value in seeded.CAMPPLUS.items()]
        lines += ["frontend: WavFrontend", "frontend_conf:", "  fs: 16000"]
        (Path(folder) / "config.yaml").write_text("\n".join(lines))
        auto = AutoModel(
            model=folder, device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR"
        )
        for samples in seeded.SOUNDS:
            sound = seeded.sound(samples)
            found[f"whole_{samples}"] = auto.generate(input=sound)[0]["spk_embedding"].numpy()[0]
            cut = [chunk[2] for chunk in sv_chunk([[0, samples / 16000, sound]])]
            found[f"windows_{samples}"] = auto.generate(input=cut, batch_size=100)[0]["spk_embedding"].numpy()
    return found


def main(timelines, out):
    torch.set_num_threads(1)
    campplus, eres = network(CAMPPlus(**seeded.CAMPPLUS)), network(ERes2NetV2(**seeded.ERES2NETV2))
    arrays = {}
    with torch.inference_mode():
        for frames in seeded.LENGTHS:
            features = torch.from_numpy(seeded.features(frames))
            arrays[f"campplus_{frames}"] = campplus(features).numpy()
            arrays[f"eres2netv2_{frames}"] = eres(features).numpy()
    arrays |= from_sound(campplus)

    clusters = []
    for seed, (count, speakers, known) in enumerate(seeded.CLUSTERED):
        voices, _ = seeded.voices(count, speakers, seed)
        clusters.append(
            "".join(str(label) for label in ClusterBackend()(torch.from_numpy(voices), oracle_num=known))
        )
    cut, turns, spoken = [], [], []
    for seed in range(timelines):
        windows = chunks(seeded.segments(seed))
        cut.append([[round(start * 1000, 3), round(end * 1000, 3)] for start, end, _ in windows])
        labels = np.array(seeded.labels(len(windows), seed))
        pieces = postprocess(windows, None, labels, np.zeros((len(labels), 4)))
        turns.append([[float(start), float(end), int(speaker)] for start, end, speaker in pieces])
        given, sentences = seeded.timeline(seed)
        listed = [{"start": start, "end": end} for start, end in sentences]
        distribute_spk(listed, [[start / 1000, end / 1000, speaker] for start, end, speaker in given])
        spoken.append([int(sentence["spk"]) for sentence in listed])
    out.mkdir(exist_ok=True)
    np.savez_compressed(out / "networks.npz", **arrays)
    record = {"clusters": clusters, "windows": cut, "turns": turns, "sentences": spoken}
    (out / "diarization.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2])) if len(sys.argv) == 3 else main(60, OUT)
