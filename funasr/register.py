"""`tables.register("model_classes", "Name")`: upstream's way to add a class, as a face on the registry.

>>> from funasr.register import tables
>>> @tables.register("model_classes", "MyModel")
... class MyModel: ...

Each table is a dict attribute of `tables`, from a name to a class or to `"module:Class"`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from funasr import registry
from funasr.errors import OptionError, did_you_mean
from funasr.registry import Entry

logger = logging.getLogger(__name__)

C = TypeVar("C", bound=type[Any])


@dataclass
class Tables:
    """Upstream's table names. Three of them are filled: the toolkit finds its other parts by import."""

    model_classes: dict[str, Entry] = field(default_factory=lambda: registry.MODELS)
    frontend_classes: dict[str, Entry] = field(default_factory=lambda: registry.FRONTENDS)
    tokenizer_classes: dict[str, Entry] = field(default_factory=lambda: registry.TOKENIZERS)
    specaug_classes: dict[str, Entry] = field(default_factory=dict)
    normalize_classes: dict[str, Entry] = field(default_factory=dict)
    encoder_classes: dict[str, Entry] = field(default_factory=dict)
    decoder_classes: dict[str, Entry] = field(default_factory=dict)
    joint_network_classes: dict[str, Entry] = field(default_factory=dict)
    predictor_classes: dict[str, Entry] = field(default_factory=dict)
    stride_conv_classes: dict[str, Entry] = field(default_factory=dict)
    dataloader_classes: dict[str, Entry] = field(default_factory=dict)
    batch_sampler_classes: dict[str, Entry] = field(default_factory=dict)
    dataset_classes: dict[str, Entry] = field(default_factory=dict)
    index_ds_classes: dict[str, Entry] = field(default_factory=dict)

    def register(self, table: str, key: str | None = None) -> Callable[[C], C]:
        """A decorator that puts a class into a table, under its own name unless `key` is given.

        Raises OptionError for an unknown table. A name that is taken is replaced, with a warning.
        """
        names = [one.name for one in fields(self)]
        if table not in names:
            raise OptionError(
                f"no table {table!r}{did_you_mean(table, names) or '.'} Tables: {', '.join(names)}"
            )
        entries: dict[str, Entry] = getattr(self, table)

        def add(cls: C) -> C:
            name = key or cls.__name__
            if name in entries and entries[name] is not cls:
                logger.warning("%s[%r] was %s, is now %s", table, name, entries[name], cls)
            entries[name] = cls
            return cls

        return add

    def print(self, key: str | None = None) -> None:
        """Print the tables, or the one called `key` (with or without `_classes`)."""
        from rich import print as show

        for one in fields(self):
            if key is None or key in (one.name, one.name.removesuffix("_classes")):
                show(f"[bold]{one.name}[/bold]")
                for name, entry in sorted(getattr(self, one.name).items()):
                    show(f"  {name}: {entry}")


tables = Tables()
