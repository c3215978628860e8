"""Golden outputs of a small SenseVoice, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_sense_voice.py

Reference: funasr 1.4.16, torch 2.13, CPU. Writes into sense_voice/:

    bpe.model    a vocabulary trained here on the sentences below, with the tags of the released one
    network.npz  outputs of the encoder for seeded features (tolerance 1e-4: float32 sums in another order)
    heard.json   text of seeded sounds, for every option of a call
    spelt.json   text, timestamp and words for given ids: the head of the network is replaced, so that they
                 are exactly what each frame says
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402
import seeded_dirs  # noqa: E402

from funasr import AutoModel  # noqa: E402
from funasr.register import tables  # noqa: E402

FOLDER = HERE / "sense_voice"
TAGS = [
    *("zh", "en", "yue", "ja", "ko", "nospeech", "withitn", "woitn"),
    *("HAPPY", "SAD", "ANGRY", "NEUTRAL", "EMO_UNKNOWN", "Speech", "BGM", "Laughter", "Event_UNK"),
]
SENTENCES = [
    "今天天气很好，我们去公园。",
    "你好，世界！再见。",
    "The cat sat on the mat, and the dog ran to the park.",
    "Hello world. It's 3 o'clock, isn't it?",
    "我们去 the park 吧。",
    "こんにちは、きょうはいい天気です。",
    "안녕하세요 오늘 날씨가 좋습니다",
]
LANGUAGES = ("auto", "zh", "en", "yue", "ja", "ko", "nospeech")


def train_vocabulary() -> None:
    prefix = FOLDER / "bpe"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 50),
        model_prefix=str(prefix),
        vocab_size=130,
        model_type="bpe",
        character_coverage=1.0,
        normalization_rule_name="identity",  # the usual tables would make the file 20 times larger
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=[f"<|{tag}|>" for tag in TAGS],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    prefix.with_suffix(".vocab").unlink()


def everything(vocab_size: int) -> dict[str, object]:
    raw = seeded_dirs.sense_voice_config()
    return {**raw["model_conf"], **raw, "vocab_size": vocab_size, "input_size": seeded.INPUT}


def network(vocab_size: int) -> torch.nn.Module:
    """The reference's own class with the seeded weights."""
    model = tables.model_classes["SenseVoiceSmall"](**everything(vocab_size)).eval()
    state = seeded_dirs.weights({key: tuple(value.shape) for key, value in model.state_dict().items()})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=True)
    return model


def encoded(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Encoder and head at batch 1, with the queries of language zh and of "as spoken" in front."""
    asked = model.embed(torch.tensor([[3, 1, 2, 15]]))
    features = torch.cat([asked, torch.from_numpy(seeded.features())], dim=1)
    hidden, _ = model.encoder(features, torch.tensor([features.shape[1]]))
    return {"hidden": hidden.numpy(), "log_probs": model.ctc.log_softmax(hidden).numpy()}


class Script(torch.nn.Module):
    """In the place of the output layer: frame t says ids[t], and nothing when they are at an end."""

    def __init__(self, ids: list[int], vocab_size: int) -> None:
        super().__init__()
        self.ids, self.vocab_size = ids, vocab_size

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        scores = torch.full((*hidden.shape[:2], self.vocab_size), -5.0)
        said = [*self.ids, *[0] * (hidden.shape[1] - len(self.ids))]
        scores[:, torch.arange(hidden.shape[1]), torch.tensor(said)] = 5.0
        return scores


def scripts(spell: sentencepiece.SentencePieceProcessor) -> list[list[int]]:
    """What frames say: queries and words, with blanks (0) and repeats between.

    No text has a word that is spelt with a lone `▁` after another word: the reference would join the two.
    """
    texts = [
        "你好，世界！",
        "今天天气很好，我们去公园。",
        "the cat sat on the mat",
        "The cat sat on the mat, on the park.",
        "Hello world. It's 3 o'clock",
        "我们去 the park 吧。",
        "こんにちは、きょう",
        "안녕하세요 오늘 날씨가",
        "",
    ]
    made = []
    for number, text in enumerate(texts):
        language = ("zh", "en", "ja", "ko")[number % 4]
        tags = [spell.piece_to_id(f"<|{tag}|>") for tag in (language, "NEUTRAL", "Speech", "woitn")]
        rng = np.random.default_rng(number)
        frames: list[int] = []
        for id_ in spell.encode(text):
            # A blank in front parts it from an equal one before.
            frames += [0] * int(rng.integers(1 if frames[-1:] == [id_] else 0, 4))
            frames += [id_] * int(rng.integers(1, 4))
        made.append([*tags, *frames])
    return made


def main() -> None:
    torch.set_num_threads(1)
    train_vocabulary()
    spell = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "bpe.model"))
    size = spell.get_piece_size()
    own = network(size)
    with torch.no_grad():
        np.savez_compressed(FOLDER / "network.npz", **encoded(own))
    shapes = {key: tuple(value.shape) for key, value in own.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        seeded_dirs.write_sense_voice(Path(folder), shapes)
        model = AutoModel(
            model=folder, device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR"
        )

        def text(seconds: float, seed: int, **options: object) -> str:
            return model.generate(input=seeded_dirs.sound(seconds, seed), **options)[0]["text"]

        heard = [
            {"seconds": 3.0, "seed": 1, "options": {"language": name}, "text": text(3.0, 1, language=name)}
            for name in LANGUAGES
        ]
        for options in ({"use_itn": True}, {"text_norm": "withitn"}, {"text_norm": "woitn", "use_itn": True}):
            heard.append({"seconds": 3.0, "seed": 1, "options": options, "text": text(3.0, 1, **options)})
        for seed, seconds in enumerate([0.05, 0.3, 1.0, 7.0, 12.0], 2):
            heard.append({"seconds": seconds, "seed": seed, "options": {}, "text": text(seconds, seed)})

        spelt = []
        for ids in scripts(spell):
            frames = len(ids) - 4 + 5
            samples = np.zeros(frames * 960, np.float32)  # 60 ms a frame
            model.model.ctc.ctc_lo = Script(ids, size)
            record = model.generate(input=samples, output_timestamp=True)[0]
            record.pop("key")
            spelt.append({"ids": ids, "frames": frames, **record})
    for name, content in (("heard", heard), ("spelt", spelt)):
        lines = ",\n".join(" " + json.dumps(entry, ensure_ascii=False) for entry in content)
        (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        print(f"[\n{lines}\n]")


if __name__ == "__main__":
    main()
