"""Values from YAML files and keyword arguments: what a typed field takes, and what is said about the rest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.config import options, pick, section
from funasr.errors import FunASRError, ModelFilesError, OptionError


@dataclass(frozen=True, kw_only=True)
class Everything:
    flag: bool = False
    count: int = 0
    ratio: float = 0.0
    name: str = ""
    maybe: float | None = None
    place: str | Path | None = None
    side: Literal["left", "right"] = "left"
    words: Sequence[str] = ()
    ids: tuple[int, ...] = ()
    span: tuple[int, int] = (0, 0)
    rows: tuple[tuple[float, float], ...] = ()
    more: Mapping[str, Any] | None = None
    memory: dict[Any, Any] | None = None
    call: Callable[[int], None] | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("flag", True, True),
        ("count", 7, 7),
        ("count", 7.0, 7),
        ("count", np.int64(7), 7),
        ("ratio", 1, 1.0),
        ("ratio", np.float32(0.5), 0.5),
        ("name", "a", "a"),
        ("maybe", None, None),
        ("maybe", 2, 2.0),
        ("place", Path("a"), Path("a")),
        ("side", "right", "right"),
        ("words", ["a", "b"], ("a", "b")),
        ("words", "a, b,", ("a", "b")),
        ("words", "", ()),
        ("ids", [0, 1.0], (0, 1)),
        ("span", [0, 30], (0, 30)),
        ("rows", [[10, 2], [math.inf, 1]], ([10, 2], [math.inf, 1])),
        ("more", {"a": 1}, {"a": 1}),
        ("call", print, print),
        ("anything", object, object),
    ],
)
def test_a_value_that_fits_becomes_the_type_of_its_field(name: str, value: object, kept: object) -> None:
    made = getattr(options(Everything, {name: value}, "this"), name)

    assert made == kept
    assert type(made) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("flag", "yes", "True or False"),
        ("flag", 1, "True or False"),
        ("flag", None, "True or False"),
        ("count", True, "a whole number"),
        ("count", "7", "a whole number"),
        ("count", 1.5, "a whole number"),
        ("count", math.nan, "a whole number"),
        ("count", math.inf, "a whole number"),
        ("count", None, "a whole number"),
        ("ratio", "0.5", "a number"),
        ("ratio", True, "a number"),
        ("ratio", math.nan, "a number"),
        ("ratio", -math.inf, "a number"),
        ("ratio", 10**400, "a number"),
        ("ratio", 1j, "a number"),
        ("name", 5, "a string"),
        ("name", None, "a string"),
        ("maybe", "x", "a number or None"),
        ("place", 5, "a string or a path or None"),
        ("side", "up", "one of 'left', 'right'"),
        ("side", ["left"], "one of 'left', 'right'"),
        ("words", 5, "a list of strings"),
        ("words", ["a", 5], "a list of strings"),
        ("words", b"ab", "a list of strings"),
        ("words", {"a"}, "a list of strings"),
        ("ids", "0,1", "a list of whole numbers"),
        ("ids", [True], "a list of whole numbers"),
        ("span", [1], "a list of 2 whole numbers"),
        ("rows", 5, "a list"),
        ("more", [1], "a dict or None"),
        ("memory", 5, "a dict or None"),
        ("call", 5, "a function or None"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_does(name: str, value: object, wanted: str) -> None:
    with pytest.raises(OptionError) as from_user:
        options(Everything, {name: value}, "this")
    with pytest.raises(ModelFilesError) as from_file:
        pick(Everything, {name: value}, "that_conf")

    assert str(from_user.value).startswith(f"{name} is ")
    assert str(from_user.value).endswith(f"; it must be {wanted}")
    assert str(from_file.value) == f"that_conf: {from_user.value}"


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(OptionError) as caught:
        options(Everything, {"count": "x" * 1000}, "this")

    assert len(str(caught.value)) < 150


def test_names_are_answered_with_the_nearest_by_an_error_for_users_and_a_warning_for_files(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(OptionError, match=r"^this has no option 'cuont'. Did you mean 'count'\?$"):
        options(Everything, {"cuont": 1}, "this")
    with caplog.at_level(logging.WARNING):
        assert pick(Everything, {"cuont": 1, "old": 2, 3: 4}, "that", frozenset({"old"})) == Everything()  # type: ignore[dict-item]
    assert [record.getMessage() for record in caplog.records] == [
        "that has a key 'cuont' that is not used. Did you mean 'count'?",
        "that has a key 3 that is not used",
    ]


@dataclass(frozen=True, kw_only=True)
class Positive:
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise OptionError(f"count is {self.count}; it must be 1 or more")


def test_what_a_class_refuses_itself_is_an_error_of_the_file_it_was_read_from() -> None:
    with pytest.raises(ModelFilesError, match=r"^that_conf: count is 0; it must be 1 or more$"):
        pick(Positive, {"count": 0}, "that_conf")


def test_a_section_is_a_mapping_or_not_there() -> None:
    assert section({"a": {"b": 1}}, "a") == {"b": 1}
    assert section({"a": None}, "a") == section({}, "a") == {}
    with pytest.raises(ModelFilesError, match=r"a is 5, not a mapping"):
        section({"a": 5}, "a")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.just(print),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(Everything.__dataclass_fields__)), VALUES, max_size=4))
def test_any_values_make_an_instance_or_an_error_of_ours(given_values: dict[str, Any]) -> None:
    try:
        made = options(Everything, given_values, "this")
    except FunASRError:
        return
    assert isinstance(made.flag, bool)
    assert type(made.count) is int
    assert math.isfinite(made.ratio)
    assert all(isinstance(word, str) for word in made.words)
