"""Names to classes, and the door for classes of one's own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from funasr import AutoModel, hub, registry
from funasr.aliases import ALIASES, Alias
from funasr.errors import ModelNotFoundError, OptionError
from funasr.register import Tables, tables


@pytest.fixture
def model_names() -> Iterator[None]:
    """Takes away again what a test registers."""
    before = dict(registry.MODELS)
    yield
    registry.MODELS.clear()
    registry.MODELS.update(before)


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_every_model_of_the_table_is_there_under_its_official_name(name: str) -> None:
    found = registry.lookup(registry.MODELS, name)

    assert isinstance(found, type)
    assert hasattr(found, "from_official")


@pytest.mark.parametrize("table", [registry.FRONTENDS, registry.TOKENIZERS])
def test_the_other_tables_resolve_too(table: dict[str, registry.Entry]) -> None:
    for name in table:
        assert isinstance(registry.lookup(table, name), type)


def test_a_misspelt_class_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelNotFoundError, match="Did you mean 'SeacoParaformer'"):
        registry.lookup(registry.MODELS, "SeacoParafomer")


@pytest.mark.usefixtures("model_names")
def test_a_class_of_ones_own_is_found_by_the_name_it_was_registered_under() -> None:
    @tables.register("model_classes", "Mine")
    class MyModel:
        pass

    assert registry.lookup(registry.MODELS, "Mine") is MyModel
    assert tables.model_classes["Mine"] is MyModel


@pytest.mark.usefixtures("model_names")
def test_replacing_a_class_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tables.register("model_classes", "Paraformer")(dict)

    assert "Paraformer" in caplog.text
    assert registry.lookup(registry.MODELS, "Paraformer") is dict


def test_an_unknown_table_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(OptionError, match="Did you mean 'model_classes'"):
        tables.register("model_class", "X")


def test_tables_are_printed_by_either_name(capsys: pytest.CaptureFixture[str]) -> None:
    Tables().print("frontend")

    out = capsys.readouterr().out
    assert "frontend_classes" in out
    assert "WavFrontend" in out
    assert "model_classes" not in out


def test_a_released_model_of_a_kind_that_is_not_there_yet_is_refused_before_it_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_download(*_: object, **__: object) -> None:
        pytest.fail("asked the hub")

    monkeypatch.setattr(hub, "resolve", no_download)
    unknown = Alias("new-kind", "a task", "NewKind", "iic/new-kind", None)
    monkeypatch.setitem(ALIASES, unknown.name, unknown)

    for name in (unknown.name, unknown.ms):
        with pytest.raises(ModelNotFoundError, match="no model class 'NewKind' in this release"):
            AutoModel(model=name)


def test_a_model_without_torch_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from funasr import registry\n"
        "from funasr.errors import MissingDependencyError\n"
        "try: registry.lookup(registry.MODELS, 'Paraformer')\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert 'pip install "funasr[torch]"' in run.stdout
