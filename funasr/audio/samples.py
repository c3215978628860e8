"""Arrays, tensors and lists of numbers -> (N, C) float32 in [-1, 1]."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.errors import InputError

logger = logging.getLogger(__name__)

MAX_ARRAY_CHANNELS = 64
"""More than this is not sound with channels: most likely features, or a batch."""

LOUDEST_FLOAT = 32.0
"""Float sound is in [-1, 1]; peaks of careless processing reach a few times that. Beyond this (30 dB over
full scale) the numbers are taken for int16 values that were cast to float."""

_FULL_SCALE = {"int8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


def is_array(value: Any) -> bool:
    """A numpy array or something that can turn into one like a torch tensor does."""
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "cpu"))


def is_number_list(value: Any) -> bool:
    """A list or tuple whose first element is a number: samples, not a list of inputs."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and isinstance(value[0], (int, float, np.number))
        and not isinstance(value[0], bool)
    )


def to_numpy(value: Any) -> NDArray[Any]:
    """A numpy array, torch tensor (any device, dtype) or list of numbers as a numpy array.

    Raises InputError when the elements are not numbers.
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "detach"):
            tensor = value.detach().cpu()
            # numpy has no bfloat16; every tensor type that is not plain float or int goes through float32.
            return np.asarray(tensor.float() if "bfloat16" in str(tensor.dtype) else tensor)
        return np.asarray(value)
    except Exception as error:
        raise InputError(f"cannot read {describe(value)} as an array of samples: {error}") from error


def describe(value: Any) -> str:
    """A short name for an unnamed input, for messages."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"array of shape {tuple(shape)}, {getattr(value, 'dtype', 'unknown dtype')}"
    if isinstance(value, (bytes, bytearray, memoryview, list, tuple)):
        return f"{type(value).__name__} of length {len(value)}"
    return type(value).__name__


def array_samples(value: Any) -> NDArray[np.float32]:
    """(N,), (N, C) or (C, N) numbers -> (N, C) float32; of two axes the shorter one is the channels.

    Integers are divided by their full scale (uint8 is centred on 128); int64, which is what Python ints
    become, must hold int16 values. Floats are kept, unless they go beyond `LOUDEST_FLOAT`: then they are
    int16 values.
    Raises InputError for other dtypes, shapes, and more than `MAX_ARRAY_CHANNELS` channels.
    """
    array = to_numpy(value)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[:, np.newaxis]
    elif array.ndim == 2 and array.shape[0] <= array.shape[1]:
        array = array.T
    if array.ndim != 2:
        raise InputError(
            f"cannot read an array of shape {array.shape} as sound: expected (samples,), (samples, channels) "
            "or (channels, samples). Pass a list of arrays to recognize several; "
            "features need data_type='fbank'."
        )
    if array.size == 0:
        return np.zeros((0, 1), np.float32)
    if array.shape[1] > MAX_ARRAY_CHANNELS:
        raise InputError(
            f"an array of shape {array.shape} would be sound of {array.shape[1]} channels; at most "
            f"{MAX_ARRAY_CHANNELS} are read. Pass a list of arrays to recognize several; features need "
            "data_type='fbank'."
        )
    return _to_float(array)


def live_samples(value: Any) -> Samples:
    """A piece of a live stream: a mono array or tensor (N,) of float or integer samples -> (N,) float32.

    The pieces of a stream must be read alike whatever is in each, so floats are in [-1, 1] and are never
    guessed to be something else. NaN and infinity become 0.
    Raises InputError for anything else.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InputError(
            "a live stream takes samples, not bytes; of 16-bit PCM: np.frombuffer(data, dtype='<i2')"
        )
    array = to_numpy(value)
    if array.ndim == 0:
        raise InputError(
            f"a live stream takes mono samples (N,), piece by piece, not {describe(value)}; "
            "generate() takes files"
        )
    if array.ndim != 1:
        raise InputError(
            f"a live stream takes mono samples (N,), not an array of shape {array.shape}; mix or choose a "
            "channel first"
        )
    if array.size == 0:
        return np.zeros(0, np.float32)
    if array.dtype.kind != "f":
        return _to_float(array)
    require_live_scale(samples := array.astype(np.float32, copy=False))
    finite = np.isfinite(samples)
    return samples if finite.all() else np.where(finite, samples, np.float32(0))


def require_live_scale(samples: NDArray[Any]) -> None:
    """Raises InputError for floats that must be int16 values: in a quiet piece nothing would tell."""
    peak = finite_peak(samples)
    if peak > LOUDEST_FLOAT:
        raise InputError(
            f"float samples of a live stream are in [-1, 1], and these reach {peak:.4g}. Divide int16 values "
            "by 32768, or pass them as int16"
        )


def _to_float(array: NDArray[Any]) -> NDArray[np.float32]:
    name = array.dtype.newbyteorder("=").name
    if name in _FULL_SCALE:
        return array.astype(np.float32) / np.float32(_FULL_SCALE[name])
    if name == "uint8":
        return (array.astype(np.float32) - 128.0) / np.float32(128.0)
    if name == "int64":
        peak = max(abs(int(array.min())), abs(int(array.max())))
        if peak > 32768:
            raise InputError(
                f"int64 samples are read as int16 values, and these reach {peak}. "
                "Convert them to float in [-1, 1], or to their true type with array.astype(numpy.int32)."
            )
        return array.astype(np.float32) / np.float32(2.0**15)
    if array.dtype.kind != "f":
        raise InputError(
            f"cannot read samples of type {array.dtype}: expected float, int16, int32, uint8 or int8 numbers"
        )
    with np.errstate(all="ignore"):
        samples = array.astype(np.float32)
        return samples * np.float32(float_scale(samples, "the array"))


def float_scale(samples: NDArray[np.float32], name: str) -> float:
    """1.0, or 1 / 32768 (and a warning) for float samples that must be int16 values; NaN does not count."""
    peak = finite_peak(samples)
    if peak <= LOUDEST_FLOAT:
        return 1.0
    logger.warning(
        "%s has float samples up to %.4g; taking them for int16 values and dividing by 32768. "
        "Float sound is expected in [-1, 1].",
        name,
        peak,
    )
    return 1.0 / 32768.0


def finite_peak(samples: NDArray[np.float32]) -> float:
    """The largest finite magnitude, 0 for none."""
    if samples.size == 0:
        return 0.0
    with np.errstate(all="ignore"):
        peak = float(max(-samples.min(), samples.max()))
        if np.isfinite(peak):
            return peak
        finite = samples[np.isfinite(samples)]
        return float(np.abs(finite).max()) if finite.size else 0.0
