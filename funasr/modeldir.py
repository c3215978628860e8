"""A directory with a model -> `ModelDir`: its merged settings and the paths of its files. Builds nothing.

Two layouts, as both hubs publish them:

* `configuration.json` whose `file_path_metas` name the files (`init_param: model.pt`,
  `frontend_conf: {cmvn_file: am.mvn}`, ...), nested like the settings that they complete;
* or fixed names beside `config.yaml`: `model.pt`, `tokens.json`, `seg_dict`, `bpe.model`, `am.mvn`,
  `jieba_usr_dict`.

The released fsmn-vad is also about as a graph with settings under other names, such as `vad.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funasr.config import load_yaml, merge
from funasr.errors import ModelFilesError

FIXED_NAMES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("init_param",): ("model.pt", "model.safetensors"),
    ("tokenizer_conf", "token_list"): ("tokens.json", "tokens.txt"),
    ("tokenizer_conf", "seg_dict"): ("seg_dict",),
    ("tokenizer_conf", "bpemodel"): ("bpe.model",),
    ("frontend_conf", "cmvn_file"): ("am.mvn", "vad.mvn"),
    ("jieba_usr_dict",): ("jieba_usr_dict",),
}
"""Where a path stands in the settings -> the file names looked for when nothing names one, the best first."""

SETTINGS_NAMES = ("config.yaml", "vad.yaml")

ONNX_NAMES = ("model.onnx", "model_quant.onnx", "fsmnvad-online.onnx", "fsmnvad-offline.onnx")

WITHOUT_SETTINGS = {"pretrained_eres2netv2.ckpt": "ERes2NetV2"}
"""Weight files that are published without a config.yaml -> the class they belong to."""


@dataclass(frozen=True, kw_only=True)
class ModelDir:
    """The files of one model. A path is None where the model has no such file."""

    path: Path
    config: dict[str, Any]
    """config.yaml <- file_path_metas <- overrides; paths inside are absolute."""
    model: str
    """Official class name; empty for a directory that holds nothing but an ONNX graph and its settings."""
    weights: Path | None
    onnx: Path | None
    tokens: Path | None
    seg_dict: Path | None
    bpe_model: Path | None
    cmvn: Path | None
    jieba_usr_dict: Path | None

    @classmethod
    def open(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> ModelDir:
        """Read the settings of the model in `path`; `overrides` win over the files, nested key by nested key.

        Raises ModelFilesError when there is no such directory, its settings are missing or garbled, they
        name no model, or the feature statistics (`cmvn_file`) that they name are not there.
        """
        folder = Path(path).expanduser().resolve()
        if not folder.is_dir():
            raise ModelFilesError(
                f"no model directory {str(path)!r}. Give a directory with a config.yaml in it."
            )
        metas = _read_metas(folder)
        found_settings = _first(folder, SETTINGS_NAMES) or folder / SETTINGS_NAMES[0]
        config_path = folder / str(metas.get("config", found_settings))
        bare = _first(folder, tuple(WITHOUT_SETTINGS))
        if bare is not None and not config_path.is_file():
            raw: dict[str, Any] = {"model": WITHOUT_SETTINGS[bare.name], "init_param": bare.name}
        elif config_path.is_file():
            raw = _with_official_names(load_yaml(config_path))
        else:
            found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
            raise ModelFilesError(
                f"{folder} has no config.yaml (it holds {found}): not a model directory, or a download that "
                "did not finish. Delete it and fetch the model again."
            )
        named = raw.get("model")
        onnx = _first(folder, ONNX_NAMES)
        has_graph = onnx is not None or any(folder.glob("*.onnx"))
        if not (isinstance(named, str) and named) and not has_graph:
            raise ModelFilesError(
                f"{config_path} does not say which `model` it configures, e.g. `model: Paraformer`"
            )
        config = merge(raw, _existing(folder, metas) if metas else _guessed(folder))
        config["model"] = named or ""
        statistics = ("frontend_conf", "cmvn_file")
        if _path(folder, config, statistics) is None and isinstance(_value(metas, statistics), str):
            config = merge(config, {"frontend_conf": {"cmvn_file": _value(metas, statistics)}})
        if overrides:
            config = merge(config, overrides)
        cmvn = _path(folder, config, statistics)
        if cmvn is None and _value(config, statistics):
            # Features without their statistics would be recognised as other words, with no error anywhere.
            missing = _value(config, statistics)
            raise ModelFilesError(f"{folder} has no {missing!r}, which its settings name as cmvn_file")
        tokenizer = ("tokenizer_conf",)
        seg_dict = _path(folder, config, (*tokenizer, "seg_dict_file")) or _path(
            folder, config, (*tokenizer, "seg_dict")
        )
        return cls(
            path=folder,
            config=config,
            model=str(config["model"]),
            weights=_path(folder, config, ("init_param",)),
            onnx=onnx,
            tokens=_path(folder, config, (*tokenizer, "token_list")),
            # As upstream: hotwords find it beside the statistics even where the settings do not name it.
            seg_dict=seg_dict or _first(folder, ("seg_dict",)),
            bpe_model=_path(folder, config, (*tokenizer, "bpemodel")),
            cmvn=cmvn,
            jieba_usr_dict=_path(folder, config, ("jieba_usr_dict",)),
        )

    def require_weights(self) -> Path:
        """The weight file. Raises ModelFilesError naming what was looked for."""
        if self.weights is not None:
            return self.weights
        stated = self.config.get("init_param")
        wanted = repr(stated) if stated else " or ".join(FIXED_NAMES[("init_param",)])
        raise ModelFilesError(
            f"{self.path} has no weights ({wanted}): an incomplete download, or a directory for another back "
            "end. Fetch the model again, or name a file with init_param=."
        )

    def require_tokens(self) -> Path:
        """The vocabulary. Raises ModelFilesError naming what was looked for."""
        if self.tokens is not None:
            return self.tokens
        wanted = _value(self.config, ("tokenizer_conf", "token_list"))
        names = (
            repr(wanted)
            if isinstance(wanted, str)
            else " or ".join(FIXED_NAMES["tokenizer_conf", "token_list"])
        )
        raise ModelFilesError(f"{self.path} has no vocabulary ({names}). Fetch the model again.")


def _read_metas(folder: Path) -> dict[str, Any]:
    """`file_path_metas` of configuration.json; empty when there is none, or no such file."""
    path = folder / "configuration.json"
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFilesError(f"cannot read {path} as JSON: {error}. Fetch the model again.") from error
    metas = loaded.get("file_path_metas", {}) if isinstance(loaded, dict) else None
    if not isinstance(metas, dict):
        raise ModelFilesError(
            f"{path}: expected a mapping with file_path_metas, found {type(loaded).__name__}"
        )
    return metas


def _with_official_names(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings of an fsmn-vad under the names of config.yaml, whatever who published it called them."""
    if "vadPostArgs" in raw:  # lovemefan/fsmn-vad
        parts = {
            "frontend_conf": _value(raw, ("WavFrontend", "frontend_conf")),
            "encoder_conf": _value(raw, ("FSMN", "encoder_conf")),
            "model_conf": raw["vadPostArgs"],
        }
    elif "vad_post_conf" in raw:  # upstream's vad.yaml
        parts = {key: raw.get(key) for key in ("frontend_conf", "encoder_conf")}
        parts["model_conf"] = raw["vad_post_conf"]
    else:
        return raw
    known = {
        name: {key: value for key, value in part.items() if value is not None}
        for name, part in parts.items()
        if isinstance(part, dict)
    }
    return {"model": "FsmnVADStreaming", "encoder": "FSMN", "frontend": "WavFrontendOnline", **known}


def _existing(folder: Path, metas: Any) -> Any:
    """The same mapping with absolute paths, less the files that are not there (as upstream)."""
    if isinstance(metas, dict):
        found = {key: _existing(folder, value) for key, value in metas.items()}
        return {key: value for key, value in found.items() if value is not None}
    if isinstance(metas, list):
        return [value for value in (_existing(folder, item) for item in metas) if value is not None]
    if isinstance(metas, str):
        return str(folder / metas) if metas and (folder / metas).exists() else None
    return metas


def _guessed(folder: Path) -> dict[str, Any]:
    """Settings that point to the files found under the fixed names."""
    guessed: dict[str, Any] = {}
    for keys, names in FIXED_NAMES.items():
        path = _first(folder, names)
        if path is not None:
            setting: Any = str(path)
            for key in reversed(keys):
                setting = {key: setting}
            guessed = merge(guessed, setting)
    return guessed


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _value(config: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _path(folder: Path, config: Mapping[str, Any], keys: tuple[str, ...]) -> Path | None:
    """The file that a setting names, in the model directory or anywhere; None when it is not there."""
    value = _value(config, keys)
    if not isinstance(value, (str, Path)) or not str(value):
        return None
    for path in (folder / value, Path(value).expanduser()):
        if path.is_file():
            return path
    return None
