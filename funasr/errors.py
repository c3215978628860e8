"""Every error a user can meet, in one tree.

FunASRError
├── OptionError              an option that does not exist, or a value it cannot take (also a ValueError)
├── ModelNotFoundError       a name that is neither a directory nor a known model
├── ModelFilesError          a model directory that lacks or garbles a file
│   └── CheckpointMismatchError   weights that do not fit the network
├── HubError                 a download that failed, with its cause
├── InputError               an `input=` of a form nobody can read (also a ValueError)
│   └── AudioDecodeError     sound that cannot be decoded
├── ExportError              a graph that does not do what its network does
└── MissingDependencyError   an optional package is absent (also an ImportError)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FunASRError(Exception):
    """Base of all errors raised on purpose by this package."""


class OptionError(FunASRError, ValueError):
    """An option that does not exist, or a value it cannot take."""


class ModelNotFoundError(FunASRError):
    """The name is neither a directory nor a known model."""


class ModelFilesError(FunASRError):
    """A model directory lacks a file, or a file in it cannot be read."""


class CheckpointMismatchError(ModelFilesError):
    """The weights in the file are not those of the network."""


class HubError(FunASRError):
    """A model could not be fetched; the message names the cause."""


class InputError(FunASRError, ValueError):
    """`input=` has a form or content that cannot be used."""


class AudioDecodeError(InputError):
    """Sound that cannot be decoded."""


class ExportError(FunASRError):
    """A graph that does not do what its network does. It is not kept."""


class MissingDependencyError(FunASRError, ImportError):
    """An optional package is needed and absent; the message has the command that installs it."""

    def __init__(self, package: str, purpose: str, command: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed. Run: {command}")


def install_extra(name: str) -> str:
    """The command that adds an extra of pyproject.toml to an installed package, from a clone too: pip finds
    what is installed, and fetches no other."""
    return f'pip install "funasr[{name}]"'


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`". Did you mean 'x'?"` for the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f". Did you mean {close[0]!r}?" if close else ""
