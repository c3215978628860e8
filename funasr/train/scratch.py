"""Settings alone -> the model directory of a network that is trained from scratch.

Vocabulary and feature statistics that the settings do not name are made from the training list, once, in the
output directory.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from funasr import registry
from funasr.arrays import Features
from funasr.config import merge, section
from funasr.errors import InputError, ModelFilesError
from funasr.features.cmvn import compute_cmvn, write_cmvn
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.text.words import split_words
from funasr.train.check import Utterance, check_manifest, manifest_paths
from funasr.train.kinds import PUNCTUATED, SEGMENTS, SPEAKERS, SPEECH, kind_for
from funasr.train.marks import vocabulary
from funasr.train.sounds import read_sound

logger = logging.getLogger(__name__)

FIRST, LAST = ("<blank>", "<s>", "</s>"), "<unk>"
MOST_SOUNDS = 2000
"""Utterances that feature statistics are made from, evenly chosen."""


def is_class(name: str) -> bool:
    """Does `++model=NAME` name a class, for a network with random weights, and no directory or release?"""
    return name in registry.MODELS and not Path(name).is_dir()


def from_scratch(name: str, settings: Mapping[str, Any]) -> ModelDir:
    """Raises ModelFilesError for settings that lack the network's, or name files that are not there."""
    kind = kind_for(name)
    if not section(settings, "encoder_conf") and kind is not SPEAKERS:
        raise ModelFilesError(
            f"++model={name} is a class: it needs all settings of the network (encoder_conf and so on). Give "
            "them with --config-path DIR --config-name FILE, or name a model directory to begin with"
        )
    output = Path(str(settings["output_dir"]))
    config = merge(settings, {"model": name})
    tokenizer = section(config, "tokenizer_conf")
    tokens = _named(tokenizer.get("token_list") or config.get("token_list"), "tokenizer_conf.token_list")
    bpe = _named(tokenizer.get("bpemodel"), "tokenizer_conf.bpemodel")
    seg_dict = _named(tokenizer.get("seg_dict_file") or tokenizer.get("seg_dict"), "tokenizer_conf.seg_dict")
    cmvn = _named(section(config, "frontend_conf").get("cmvn_file"), "frontend_conf.cmvn_file")
    writes = kind in (SPEECH, PUNCTUATED) and tokens is None and bpe is None
    measures = kind in (SPEECH, SEGMENTS) and cmvn is None
    if writes or measures:
        good = check_manifest(manifest_paths(str(settings["train_data_set_list"])), kind=kind).good
        if writes:
            write = write_words if kind is PUNCTUATED else write_tokens
            tokens = _made(output / "tokens.json", lambda path: write(path, good))
        if measures:
            frontend = WavFrontend.from_official(section(config, "frontend_conf"), None)
            cmvn = _made(output / "am.mvn", lambda path: write_statistics(path, good, frontend))
    return ModelDir(
        path=output.resolve(),
        config=merge(config, {"frontend_conf": {"cmvn_file": str(cmvn)}}) if cmvn else config,
        model=name,
        weights=_named(config.get("init_param"), "init_param"),
        onnx=None,
        tokens=tokens,
        seg_dict=seg_dict,
        bpe_model=bpe,
        cmvn=cmvn,
        jieba_usr_dict=None,
    )


def write_tokens(path: Path, utterances: Sequence[Utterance]) -> None:
    """The characters of all texts, the most frequent first, between the special ones."""
    counts = Counter(char for utterance in utterances for char in utterance.text if not char.isspace())
    order = sorted(counts, key=lambda char: (-counts[char], char))
    path.write_text(json.dumps([*FIRST, *order, LAST], ensure_ascii=False), encoding="utf-8")
    logger.info("%s: a vocabulary of %d characters", path, len(order))


def write_words(path: Path, utterances: Sequence[Utterance]) -> None:
    """The words of all texts, for punctuation."""
    words = vocabulary((utterance.text for utterance in utterances), split_words)
    path.write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    logger.info("%s: a vocabulary of %d words", path, len(words))


def write_statistics(path: Path, utterances: Sequence[Utterance], frontend: WavFrontend) -> None:
    """Mean and variance of the features of up to MOST_SOUNDS utterances."""
    shift, scale = compute_cmvn(_features(utterances[:: -(-len(utterances) // MOST_SOUNDS) or 1], frontend))
    write_cmvn(path, shift, scale)
    logger.info("%s: feature statistics", path)


def _features(utterances: Sequence[Utterance], frontend: WavFrontend) -> Iterator[Features]:
    for utterance in utterances:
        try:
            yield frontend(read_sound(utterance, frontend.fs))
        except InputError as error:
            logger.warning("%s", error)


def _made(path: Path, write: Any) -> Path:
    """What an earlier start of the same run has made stays as it is: its weights belong to it."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".part")
        write(draft)
        os.replace(draft, path)
    return path


def _named(value: Any, setting: str) -> Path | None:
    if not value:
        return None
    path = Path(str(value)).expanduser()
    if not path.is_file():
        raise ModelFilesError(f"{setting} names {str(value)!r}: no such file")
    return path.resolve()
