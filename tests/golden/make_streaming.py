"""Golden steps of a small ParaformerStreaming, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_streaming.py

Reference: funasr 1.4.16, torch 2.13, CPU. Weights, shapes and features are those of seeded.py. Writes
models/ParaformerStreaming.npz: of each stream the log-probabilities of all its tokens and how many of them
each step said; of one stream what its encoder made of each window. Tests compare within 1e-5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from make_models import HERE, build, seeded


def steps(number: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """One stream -> encoder frames of all windows, log-probabilities of all tokens, tokens of each step."""
    model = build("ParaformerStreaming")
    if number == seeded.QUIET:
        model.predictor.cif_output.bias.fill_(seeded.QUIET_BIAS)
    shape, (encoder, decoder), _ = seeded.STREAMS[number]
    options: dict[str, Any] = {
        "chunk_size": list(shape),
        "encoder_chunk_look_back": encoder,
        "decoder_chunk_look_back": decoder,
    }
    cache: dict[str, Any] = {}
    sizes = {"n_mels": seeded.INPUT // 7, "lfr_m": 7}
    model.init_cache(cache, **seeded.config("ParaformerStreaming"), frontend_conf=sizes, **options)
    memories, logs = [], [torch.zeros(0, seeded.VOCAB)]
    counts = []
    chunks = seeded.stream_chunks(number)
    for index, chunk in enumerate(chunks):
        final = index == len(chunks) - 1
        speech = torch.from_numpy(chunk.copy())[None]
        if not len(chunk):
            cache["encoder"]["tail_chunk"] = True
            speech = cache["encoder"]["feats"]
        lengths = torch.tensor([speech.shape[1]])
        memory, lengths = model.encode_chunk(speech, lengths, cache=cache, is_final=final)
        memories.append(memory[0])
        embeds, count = model.calc_predictor_chunk(memory, lengths, cache=cache, is_final=final)[:2]
        said = int(count.round())
        counts.append(said)
        if said:
            logs.append(model.cal_decoder_with_predictor_chunk(memory, lengths, embeds, count, cache)[0][0])
    return torch.cat(memories), torch.cat(logs), counts


def main() -> None:
    torch.set_num_threads(1)
    golden: dict[str, Any] = {}
    for number in range(len(seeded.STREAMS)):
        with torch.no_grad():
            memory, log_probs, counts = steps(number)
        golden |= {f"log_probs_{number}": log_probs.numpy(), f"counts_{number}": np.array(counts)}
        if number == 4:
            golden[f"memory_{number}"] = memory.numpy()
        print(seeded.STREAMS[number], counts)
    np.savez_compressed(HERE / "models" / "ParaformerStreaming.npz", **golden)


if __name__ == "__main__":
    main()
