"""README and docs: `python` and `sh` blocks run, `funasr` lines parse, links lead somewhere.

Blocks run in a directory with a few recordings, and with the bundled models standing in for the large ones.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import hub, registry
from funasr.bin import evaluate, export, inference, live, manifest, train
from funasr.config import parse_overrides
from tests.tiny_models import make_campplus, make_ct_punc, make_paraformer

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [page for folder in ("", "docs", "data") for page in (ROOT / folder).glob("*.md")]
    + list((ROOT / "examples").rglob("*.md"))
)
FENCES = {"python", "sh", "console", "text", "mermaid"}
STAND_INS = {"paraformer-zh": "bundled-paraformer-words-en", "fsmn-vad": "bundled-fsmn-vad-small"}
SECTIONS = (
    *("train_conf", "dataset_conf", "optim_conf", "scheduler_conf", "encoder_conf", "decoder_conf"),
    *("lora_only", "lora_bias", "freeze_param", "excludes", "own", "remote_code", "trust_remote_code"),
)
"""Of a recipe: what a shown command may change."""
PROGRAMS = {
    "funasr": inference.main,
    "scp2jsonl": manifest.scp2jsonl,
    "jsonl2scp": manifest.jsonl2scp,
    "funasr-live": live.main,
    "funasr-eval": evaluate.main,
    "funasr-export": export.main,
}


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    kind: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if start is None:
                start = number
            else:
                kind = lines[start - 1][3:].strip()
                found.append(Block(page, start, kind, "\n".join(lines[start : number - 1])))
                start = None
    assert start is None, f"{page}: the block in line {start} is not closed"
    return found


def lines_of(block: Block) -> list[str]:
    """Commands of a block; a backslash at the end of a line goes on in the next."""
    return [line for line in block.code.replace("\\\n", " ").splitlines() if line]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [
    pytest.param(block, id=f"{block.page.relative_to(ROOT)}:{block.line}")
    for block in BLOCKS
    if block.kind in ("python", "sh") and block.page.name != "README_zh.md"  # whose blocks are README.md's
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of."""
    folder = tmp_path_factory.mktemp("recordings")
    sample = next((ROOT / "funasr/bundled/samples").glob("*.flac"))
    sound, rate = soundfile.read(sample, dtype="float32")
    soundfile.write(folder / "a.wav", sound, rate)
    soundfile.write(folder / "b.mp3", sound, rate)
    soundfile.write(folder / "meeting.mp3", np.concatenate([sound, sound]), rate)
    (folder / "wav.scp").write_text("utt1 a.wav\nutt2 b.mp3\n")
    (folder / "text.txt").write_text("utt1 seven zero four\nutt2 stop\n")
    lines = [{"key": "utt1", "source": "a.wav", "target": "seven"}, {"source": "b.mp3", "target": "stop"}]
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_ct_punc(folder / "ct-punc")
    make_paraformer(folder / "paraformer-zh-streaming", "ParaformerStreaming")
    make_campplus(folder / "cam++")
    soundfile.write(folder / "call.wav", np.stack([sound, np.zeros_like(sound)], axis=1), rate)
    return folder


@pytest.fixture
def desk(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A reader's directory; what a block registers or switches is put back afterwards."""
    shutil.copytree(recordings, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUNASR_OFFLINE", "1")
    monkeypatch.delenv(inference.MODEL_VARIABLE, raising=False)
    resolve = hub.resolve

    def with_stand_ins(name: str | Path, **options: Any) -> Path:
        return resolve(STAND_INS.get(str(name), name), **options)

    monkeypatch.setattr(hub, "resolve", with_stand_ins)
    level, models = logging.getLogger("funasr").level, dict(registry.MODELS)
    yield tmp_path
    logging.getLogger("funasr").setLevel(level)
    registry.MODELS.clear()
    registry.MODELS.update(models)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("block", RUN)
def test_a_block_runs(block: Block) -> None:
    if block.kind == "python":
        # The newlines make a traceback show lines of the page.
        code = compile("\n" * block.line + block.code, str(block.page), "exec")
        exec(code, {"__name__": "__main__"})
        return
    for line in lines_of(block):
        program, *arguments = shlex.split(line, comments=True)
        assert program in PROGRAMS, f"{line}: only {', '.join(PROGRAMS)} are run by the tests"
        assert PROGRAMS[program](arguments) == 0, line


def test_every_block_says_what_it_is() -> None:
    odd = [f"{block.page.name}:{block.line} {block.kind!r}" for block in BLOCKS if block.kind not in FENCES]

    assert not odd
    assert len(RUN) > 10


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "console"])
def test_a_command_that_is_only_shown_is_one_that_exists(block: Block) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for line in lines_of(block):
        words = shlex.split(line, comments=True)
        while re.fullmatch(r"\w+=.*", words[0]):  # a variable for this command
            words.pop(0)
        program, *arguments = words
        if program == "make":
            assert set(arguments) <= targets, line
        elif Path(program).name == "funasr":
            inference._parser().parse_args(arguments)
        elif program == "funasr-live":
            live._parser().parse_args(arguments)
        elif program == "funasr-train":
            settings = [argument for argument in arguments if argument.startswith("++")]
            assert set(parse_overrides(settings)) <= {"model", *train.REQUIRED, *SECTIONS}, line
        elif program in PROGRAMS:
            parse_overrides([argument for argument in arguments if not argument.startswith("--")])
        elif program == "bash":
            assert (ROOT / arguments[0]).is_file(), line
        elif program == "torchrun":
            script = next(argument for argument in arguments if argument.endswith(".py"))
            assert (ROOT / script).is_file(), line
        elif program == "python":
            assert (ROOT / arguments[0]).is_file(), line
        elif program.startswith("scripts/"):
            assert os.access(ROOT / program, os.X_OK), line
        else:
            assert (program, arguments[0]) == ("pip", "install"), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_both_readmes_show_the_same_blocks() -> None:
    def code(name: str) -> list[tuple[str, str]]:
        """Kind and code of each block, comments apart: those are translated."""
        return [
            (block.kind, re.sub(r"\s*#.*", "", block.code)) for block in BLOCKS if block.page == ROOT / name
        ]

    assert code("README.md") == code("README_zh.md")


def test_the_models_page_names_every_alias_and_every_bundled_model() -> None:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")

    for name in [*hub.ALIASES, *hub.bundled()]:
        if name != "paraformer-en-spk":  # the same model as paraformer-en
            assert f"`{name}`" in text, name


def test_names_in_the_table_of_models_have_the_ids_of_the_alias_table() -> None:
    for line in (ROOT / "docs/models.md").read_text(encoding="utf-8").splitlines():
        name = re.match(r"\| `([\w+-]+)` \| (\w+) \|", line)
        if name and name[1] in hub.ALIASES:
            alias = hub.ALIASES[name[1]]
            assert alias.ms in line
            assert alias.hf is None or alias.hf in line
            assert alias.model == name[2]
