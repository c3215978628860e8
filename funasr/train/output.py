"""The output directory of a run as a model directory: all that is beside the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from funasr.train.kinds import PUNCTUATED, SEGMENTS, SPEAKERS, kind_for
from funasr.train.recipe import Recipe

TASKS = {
    SEGMENTS.name: "voice-activity-detection",
    PUNCTUATED.name: "punctuation",
    SPEAKERS.name: "speaker-verification",
}


def write_settings(recipe: Recipe) -> None:
    """Make the output directory a model directory: all that is beside the weights."""
    recipe.output.mkdir(parents=True, exist_ok=True)
    directory = recipe.directory
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    files = {
        ("tokenizer_conf", "token_list"): directory.tokens,
        ("tokenizer_conf", "seg_dict_file"): directory.seg_dict,
        ("tokenizer_conf", "bpemodel"): directory.bpe_model,
        ("frontend_conf", "cmvn_file"): directory.cmvn,
    }
    for (part, name), path in files.items():
        if path is not None:
            if path.parent.resolve() != recipe.output.resolve():
                shutil.copyfile(path, recipe.output / path.name)
            metas.setdefault(part, {})[name] = path.name
    jieba = directory.jieba_usr_dict
    if jieba is not None:
        if jieba.parent.resolve() != recipe.output.resolve():
            shutil.copyfile(jieba, recipe.output / jieba.name)
        metas["jieba_usr_dict"] = jieba.name
    raw = {
        key: value for key, value in directory.config.items() if key not in ("init_param", "jieba_usr_dict")
    }
    for (part, name), path in files.items():
        if path is not None and isinstance(raw.get(part), Mapping):
            raw[part] = {key: value for key, value in raw[part].items() if key not in (name, "seg_dict")}
    OmegaConf.save(OmegaConf.create(raw), recipe.output / "config.yaml")
    described = {
        "framework": "pytorch",
        "task": TASKS.get(kind_for(directory.model).name, "auto-speech-recognition"),
        "model": {"type": "funasr"},
        "file_path_metas": metas,
    }
    (recipe.output / "configuration.json").write_text(
        json.dumps(described, indent=2) + "\n", encoding="utf-8"
    )
