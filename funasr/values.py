"""Values from users and files -> what the fields of a dataclass can hold, or an error that says why not."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from funasr.errors import OptionError


def checked(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for fields of a dataclass, each as the type of its field.

    Whole floats do for integers, integers for floats, and a string with commas for a list of strings; floats
    are finite. Items of lists are looked at where they are plain values; what is nested deeper is up to the
    class.

    Raises OptionError with the name, the value and what it should be.
    """
    wanted = field_types(cls)
    values: dict[str, Any] = {}
    for name, value in given.items():
        values[name] = _as(wanted[name], value)
        if values[name] is _UNFIT:
            raise OptionError(f"{name} is {shown(value)}; it must be {_described(wanted[name])}")
    return values


def field_types(cls: type) -> Mapping[str, Any]:
    """Field name of a dataclass -> its type, as an object."""
    return _types(cls)


@cache  # 1 ms for a class of many fields, and a live stream asks every chunk
def _types(cls: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


_UNFIT: Any = object()


def _as(wanted: Any, value: Any) -> Any:
    """The value as that type, or _UNFIT."""
    if wanted is Any:
        return value
    origin, inner = get_origin(wanted) or wanted, get_args(wanted)
    if origin in (Union, types.UnionType):
        results = (_as(one, value) for one in inner)
        return next((result for result in results if result is not _UNFIT), _UNFIT)
    if origin is Literal:
        return value if isinstance(value, str) and value in inner else _UNFIT
    if origin in (int, float):
        return _as_number(origin, value)
    if origin in (Sequence, tuple):
        return _as_sequence(inner, value)
    if origin is Callable:
        return value if callable(value) else _UNFIT
    return value if isinstance(value, origin) else _UNFIT


def _as_number(wanted: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):  # numpy's numbers are Real too
        return _UNFIT
    try:
        number = float(value)
    except OverflowError:
        return _UNFIT
    if wanted is float:
        return number if math.isfinite(number) else _UNFIT
    return int(value) if number.is_integer() else _UNFIT  # type: ignore[call-overload]


def _as_sequence(inner: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, str) and inner[0] is str:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        return _UNFIT
    fixed = inner[-1] is not Ellipsis and len(inner) > 1
    if fixed and len(value) != len(inner):
        return _UNFIT
    items = [_as(inner[0], item) if inner[0] in _PLAIN else item for item in value]
    return _UNFIT if any(item is _UNFIT for item in items) else tuple(items)


_PLAIN: Mapping[Any, tuple[str, str]] = {
    bool: ("True or False", "True and False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    type(None): ("None", ""),
    Path: ("a path", "paths"),
    dict: ("a dict", "dicts"),
}
"""What messages call a type, one and many."""


def _described(wanted: Any) -> str:
    origin, inner = get_origin(wanted) or wanted, get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(one) for one in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (Sequence, tuple):
        count = f"{len(inner)} " if origin is tuple and inner[-1] is not Ellipsis else ""
        return f"a list of {count}{_PLAIN[inner[0]][1]}" if inner[0] in _PLAIN else "a list"
    if origin is Mapping:
        return "a dict"
    if origin is Callable:
        return "a function"
    return _PLAIN[origin][0] if origin in _PLAIN else f"a {origin.__name__}"


def shown(value: Any) -> str:
    """A value for a message, not too long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
