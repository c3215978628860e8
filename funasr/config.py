"""YAML and command-line settings -> plain mappings -> frozen dataclasses, with answers to misspelt names."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from funasr.errors import ModelFilesError, OptionError, did_you_mean
from funasr.values import checked, field_types, shown

logger = logging.getLogger(__name__)

T = TypeVar("T")


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; `${a.b}` interpolations are resolved.

    Raises ModelFilesError when the file cannot be read or is not a mapping.
    """
    from omegaconf import OmegaConf

    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except Exception as error:
        raise ModelFilesError(f"cannot read {path} as YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ModelFilesError(f"{path} holds a {type(loaded).__name__}, not a mapping of settings")
    return {str(key): value for key, value in loaded.items()}


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`["++a.b=1", "+c=[x,y]", "d=null"]` -> `{"a": {"b": 1}, "c": ["x", "y"], "d": None}`; values are YAML.

    Raises OptionError for an argument without `=`.
    """
    from omegaconf import OmegaConf

    dotted: list[str] = []
    for argument in arguments:
        name, equals, _ = argument.lstrip("+").partition("=")
        if not equals or not name:
            raise OptionError(f"cannot read the argument {argument!r}: expected ++name=value")
        dotted.append(argument.lstrip("+"))
    try:
        loaded = OmegaConf.to_container(OmegaConf.from_dotlist(dotted), resolve=True)
    except Exception as error:
        cause = " ".join(str(error).split())
        raise OptionError(f"cannot read the arguments {' '.join(arguments)}: {cause}") from error
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}


class Typed(dict[str, Any]):
    """A mapping of settings with the names in it that somebody typed, and that nothing had before: a `pick`
    that does not know one refuses it. Names in files of models may be those of older programs.
    """

    def __init__(self, settings: Mapping[str, Any], new: Iterable[str]) -> None:
        super().__init__(settings)
        self.new = frozenset(new)


def typed(settings: Mapping[str, Any]) -> Typed:
    """Settings of a command line, marked as such; nested ones too."""
    inner = {name: typed(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
    return Typed(inner, new=settings)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of nested mappings; `over` wins. Neither argument is changed.

    What is typed stays so (`Typed`), less the names that `base` has.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    new = typed_names(base) | (typed_names(over) - set(base))
    return Typed(merged, new) if new else merged


def typed_names(settings: Mapping[str, Any]) -> frozenset[str]:
    """Those that are typed, and new; none in a plain mapping."""
    return settings.new if isinstance(settings, Typed) else frozenset()


def section(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested mapping of an official config, empty where it is absent or null.

    Raises ModelFilesError when something else stands there.
    """
    found = raw.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ModelFilesError(f"config.yaml: {name} is {shown(found)}, not a mapping of settings")
    return found


def pick(cls: type[T], raw: Mapping[str, Any], where: str, ignored: frozenset[str] = frozenset()) -> T:
    """Build a dataclass from the keys of an official config that it knows.

    Keys in `ignored` are known to have no effect. Any other key is logged with the nearest field name, and
    otherwise left alone: configs of released models carry settings for training and for older programs.

    Raises ModelFilesError for a value that its field cannot hold, OptionError for a key that was typed.
    """
    fields = field_types(cls)
    refuse_typed(raw, {*fields, *ignored}, where)
    for key in raw:
        if key not in fields and key not in ignored:
            logger.warning("%s has a key %r that is not used%s", where, key, did_you_mean(str(key), fields))
    try:
        return cls(**checked(cls, {key: value for key, value in raw.items() if key in fields}))
    except OptionError as error:
        raise ModelFilesError(f"{where}: {error}") from error


def refuse_typed(raw: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Raises OptionError for a key that was typed (`Typed`) and means nothing, with the nearest that does."""
    for key in sorted(typed_names(raw) - set(known)):
        raise OptionError(f"{where} has no setting {key!r}{did_you_mean(key, known)}")


def options(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """Build an options dataclass from a user's keyword arguments.

    Raises OptionError for a name that is not a field, with the nearest one, and for a value that its field
    cannot hold.
    """
    fields = field_types(cls)
    for key in given:
        if key not in fields:
            raise OptionError(f"{where} has no option {key!r}{did_you_mean(str(key), fields)}")
    return cls(**checked(cls, given))
