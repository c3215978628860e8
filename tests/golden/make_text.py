"""Golden texts, times, ids and emoji of upstream on random token sequences -> tests/golden/text/*.json.

Run with the reference's python (upstream installed in an environment of its own):

    $FUNASR_REFERENCE_PYTHON tests/golden/make_text.py [COUNT [FOLDER]]

Exact equality is expected. Sequences hold only tokens of official vocabularies: Chinese characters, digits,
English words, single letters and `@@` pieces.
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from funasr.models.seaco_paraformer.model import SeacoParaformer
from funasr.tokenizer.char_tokenizer import CharTokenizer

from funasr.utils.postprocess_utils import rich_transcription_postprocess, sentence_postprocess

OUT = Path(__file__).parent / "text"
KINDS = (
    ("今", "天", "好", "模", "型", "三", "7", "0"),
    ("hello", "world", "it's", "don't", "ok", "'", "the"),
    ("a", "i", "u", "s", "x"),
    ("hel@@", "wor@@", "t@@", "ing@@"),
)
WEIGHTS = ((4, 2, 2, 2), (1, 0, 0, 0), (0, 3, 2, 0), (1, 1, 1, 6), (2, 0, 4, 1))
TAGS = "zh en yue ja ko nospeech HAPPY SAD ANGRY NEUTRAL FEARFUL DISGUSTED SURPRISED EMO_UNKNOWN BGM Speech "
TAGS += "Applause Laughter Cry Sneeze Breath Cough Sing Speech_Noise withitn woitn GBG Event_UNK"
WORDS = ("你好", "Hello.", " ", "The.", "a b ", "😊", "  ", "再见 ", "❓", "<|xx|>")

SEG_DICT = {
    "hello": "hel@@ lo", "a": "a", "b": "b", "g": "g", "p": "p", "u": "u", "好": "好", "今": "今", "股": "股",
    "7": "7", "it's": "it@@ 's", "odd": "od@@ <unk>",
}  # fmt: skip
TOKENS = [
    "<blank>",
    "<s>",
    "</s>",
    "a",
    "b",
    "g",
    "p",
    "u",
    "hel@@",
    "lo",
    "it@@",
    "'s",
    "好",
    "今",
    "股",
    "7",
    "<unk>",
]
TEXTS = ("hello", "Hello 今好", "a b", "今好a", "hello今", "$ a", "7好 b", "it's a", "好zz", "odd", "IT'S")
HOTWORDS = ("hello", "今好", "HELLO 好7", "a b", "gpu", "A股", "今天", "it's 好 7", "")


def joined(rng):
    length = rng.randint(1, 9)
    weights = rng.choice(WEIGHTS)
    tokens = [rng.choice(rng.choices(KINDS, weights)[0]) for _ in range(length)]
    times = [[100 * i, 100 * i + 90] for i in range(length)]
    spaced, stamps, _ = (
        sentence_postprocess(list(tokens), [list(t) for t in times]) if tokens else ("", [], [])
    )
    text = sentence_postprocess(list(tokens))[0]
    return [" ".join(tokens), text, spaced, stamps]


def rich(rng):
    parts = [
        f"<|{rng.choice(TAGS.split())}|>" if rng.random() < 0.7 else rng.choice(WORDS)
        for _ in range(rng.randint(1, 14))
    ]
    text = "".join(parts)
    return [text, rich_transcription_postprocess(text)]


def encoded():
    with tempfile.TemporaryDirectory() as folder:
        tokens, seg_dict = Path(folder, "tokens.json"), Path(folder, "seg_dict")
        tokens.write_text(json.dumps(TOKENS))
        seg_dict.write_text("".join(f"{word} {pieces}\n" for word, pieces in SEG_DICT.items()))
        tokenizer = CharTokenizer(token_list=str(tokens), unk_symbol="<unk>", seg_dict=str(seg_dict))
        texts = [[text, tokenizer.encode(text)] for text in TEXTS]
        frontend = SimpleNamespace(cmvn_file=str(Path(folder, "am.mvn")))
        phrases = []
        for phrase in HOTWORDS:
            list_file = Path(folder, "words.txt")
            list_file.write_text(phrase)
            if phrase:  # a blank line crashes upstream
                model = SimpleNamespace(sos=1)
                ids = SeacoParaformer.generate_hotwords_list(model, str(list_file), tokenizer, frontend)
                phrases.append([phrase, ids[0]])
    return {"tokens": TOKENS, "seg_dict": SEG_DICT, "texts": texts, "phrases": phrases}


def dump(path, rows):
    body = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    path.write_text(f"[\n{body}\n]\n")


def main(count, out):
    rng = random.Random(11)
    out.mkdir(exist_ok=True)
    dump(out / "join.json", [joined(rng) for _ in range(count)])
    dump(out / "rich.json", [rich(rng) for _ in range(count)])
    (out / "encode.json").write_text(json.dumps(encoded(), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400, Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
