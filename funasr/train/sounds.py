"""The sound of a line: a file or URL of its own, or a part of a shard."""

from __future__ import annotations

import io
from pathlib import Path

from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.errors import InputError
from funasr.train.manifest import sound_length
from funasr.train.utterance import Utterance


def read_sound(utterance: Utterance, rate: int) -> Samples:
    """(N,) at `rate`. Raises InputError, which names the line, for sound that cannot be used."""
    try:
        if utterance.part is None:
            return load_audio(utterance.source, rate)
        return load_audio(read_part(utterance.source, *utterance.part), rate)
    except InputError as error:
        raise InputError(f"{utterance.where}: {error}") from error


def length_of(utterance: Utterance) -> int:
    """Frames of 10 ms. Raises AudioDecodeError for what is no sound."""
    if utterance.part is None:
        return sound_length(utterance.source)
    return sound_length(io.BytesIO(read_part(utterance.source, *utterance.part)))


def read_part(path: str | Path, offset: int, size: int) -> bytes:
    """Bytes of a file. Raises InputError where there are not as many."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if len(content) < size:
        raise InputError(f"{path} ends within the sound at byte {offset}: the shard is not whole")
    return content
