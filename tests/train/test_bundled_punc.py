"""The bundled punctuation model: found by its name, small, and right about easy sentences."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from funasr import AutoModel, hub
from funasr.result import Token, Transcript

NAME = "bundled-punc"
EASY = [
    ("你叫什么名字", "你叫什么名字？"),
    ("今天天气很好我们去公园玩吧", "今天天气很好，我们去公园玩吧。"),
    ("what is your name", " What is your name?"),
    ("how are you today", " How are you today?"),
    ("thank you very much", " Thank you very much."),
]


@pytest.fixture(scope="module")
def model() -> AutoModel:
    return AutoModel(model=NAME, device="cpu", disable_pbar=True)


@pytest.fixture(scope="module")
def folder(bundled_dir: Path) -> Path:
    return bundled_dir / "ct-punc-small"


def text_of(model: AutoModel, text: str) -> str:
    return str(model.generate(input=text)[0]["text"])


@pytest.mark.parametrize(("spoken", "written"), EASY)
def test_easy_sentences_get_their_marks(model: AutoModel, spoken: str, written: str) -> None:
    assert text_of(model, spoken) == written


def test_running_text_is_parted_into_sentences(model: AutoModel) -> None:
    english = text_of(model, "i don't know where he is do you want me to call him he will be here soon")
    chinese = text_of(model, "你想让我给他打电话吗他很快就会到的")

    assert english == " I don't know where he is. Do you want me to call him? He will be here soon."
    assert chinese == "你想让我给他打电话吗？他很快就会到的。"


def test_things_in_a_list_are_parted_by_the_mark_for_lists(model: AutoModel) -> None:
    assert "、" in text_of(model, "省自治区直辖市人民政府应当制定具体的办法")


def test_marks_do_not_depend_on_capitals(model: AutoModel) -> None:
    small, large = (
        model.generate(input=text)[0]["punc_array"].tolist()
        for text in ("why did tom ask that question", "Why did Tom ask that question")
    )

    assert small == large


def test_words_that_nobody_knows_are_no_trouble(model: AutoModel) -> None:
    assert text_of(model, "zxqv brillig 龘靐") != ""


def test_it_is_listed_and_lies_in_the_package(folder: Path) -> None:
    assert hub.resolve(NAME, offline=True) == folder
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "config.yaml",
        "configuration.json",
        "model.pt",
        "model.onnx",
        "tokens.json",
        "README.md",
    }
    for other in ("model.pt", "model.onnx"):  # either is enough to run it
        assert sum(path.stat().st_size for path in folder.iterdir() if path.name != other) < 20_000_000


def test_its_card_names_sources_licences_figures_and_the_commands(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")

    for fact in (
        "--config-name punctuation",
        "punctuation_accuracy.py",
        "CC BY-SA 4.0",
        "Apache-2.0",
        "LCTT",
        "CrossWOZ",
    ):
        assert fact in card
    assert "| zh, held-out blocks | all |" in card


def test_it_sets_the_marks_behind_a_recognizer(bundled_dir: Path) -> None:
    model = AutoModel(model="bundled-paraformer-words-en", punc_model=NAME, device="cpu", disable_pbar=True)
    sample = next((bundled_dir / "samples").glob("*.flac"))

    [record] = model.generate(input=str(sample))

    assert record["text"].endswith((".", "?"))


def test_words_and_times_of_a_transcript_stay_as_they_are(model: AutoModel) -> None:
    tokens = tuple(
        Token(text=word, start_ms=100 * place, end_ms=100 * place + 80)
        for place, word in enumerate("where are you i am here".split())  # noqa: SIM905
    )

    [marked] = model.model.mark_words([Transcript(key="talk", tokens=tokens)])

    assert [token.text for token in marked.tokens] == [token.text for token in tokens]
    assert [token.start_ms for token in marked.tokens] == [token.start_ms for token in tokens]
    assert marked.tokens[2].mark == "?"


@pytest.mark.reference
def test_the_reference_reads_the_directory_and_sets_the_same_marks(model: AutoModel, folder: Path) -> None:
    texts = [spoken for spoken, _ in EASY] + ["".join(spoken for spoken, _ in EASY[:2]) * 9]
    script = (
        "import json, sys\n"
        "from funasr import AutoModel\n"
        "model = AutoModel(model=sys.argv[1], device='cpu', disable_update=True, disable_pbar=True, "
        "log_level='ERROR')\n"
        "results = [model.generate(input=text)[0] for text in json.loads(sys.argv[2])]\n"
        "print('RESULT', json.dumps([[r['text'], r['punc_array'].tolist()] for r in results]))\n"
    )
    done = subprocess.run(
        [os.environ["FUNASR_REFERENCE_PYTHON"], "-c", script, str(folder), json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout.rpartition("RESULT")[2])

    ours = [model.generate(input=text)[0] for text in texts]

    assert theirs == [[result["text"], result["punc_array"].tolist()] for result in ours]
