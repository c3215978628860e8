"""`CT_Transformer` and `CT_Transformer_VadRealtime`: upstream's result shapes over the shared stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from funasr.errors import OptionError
from funasr.stages.assembly import build_punctuator
from funasr.stages.punctuation import PunctuationState
from funasr.values import shown
from funasr_onnx.arguments import require_memory, require_split_size, require_text
from funasr_onnx.opening import open_model

EXAMPLE = 'param_dict = {"cache": []}'


class CT_Transformer:  # noqa: N801 - upstream's name
    """Marks for whole texts. One serves any number of threads."""

    _classes: tuple[str, ...] = ("CTTransformer", "CTTransformerStreaming")

    def __init__(
        self,
        model_dir: str | Path | None = None,
        batch_size: int = 1,
        device_id: str | int = "-1",
        quantize: bool = False,
        intra_op_num_threads: int = 4,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_dir` is a directory or a name of the hub; `quantize` takes its integer weights.

        `batch_size` and `cache_dir` are upstream's and change nothing here.
        """
        opened = open_model(
            model_dir,
            self._classes,
            quantize=quantize,
            device_id=device_id,
            intra_op_num_threads=intra_op_num_threads,
            batch_size=batch_size,
            unused=kwargs,
        )
        self._punctuator = build_punctuator(opened.model, opened.network)

    def __call__(self, text: str, split_size: int = 20) -> tuple[Any, ...]:
        """A text -> it with its marks, and the label of each word. `split_size`: new words a window.

        Raises InputError for what is no text, OptionError for a split_size below 1.
        """
        size = require_split_size(split_size)
        [found] = self._punctuator.punctuate([require_text(text)], split_size=size)
        return found.text, list(found.labels)


class CT_Transformer_VadRealtime(CT_Transformer):  # noqa: N801 - upstream's name
    """Marks for a live text: the caller's `param_dict["cache"]` is all that is remembered between calls."""

    _classes = ("CTTransformerStreaming",)

    def __call__(  # type: ignore[override]
        self, text: str, param_dict: dict[str, Any] | None = None, split_size: int = 20
    ) -> tuple[str, list[str], list[str]]:
        """More text -> it with its marks, the marks, and the words since the last sentence end.

        The text begins with the mark of the word before it, now that it is known, and so do the marks; `_` is
        none. The words are put into `param_dict["cache"]`. Raises as of `CT_Transformer`.
        """
        memory = {} if param_dict is None else require_memory(param_dict, EXAMPLE)
        words = memory.get("cache") or ()
        if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
            raise OptionError(f"param_dict['cache'] is {shown(words)}; begin every text with {EXAMPLE}")
        carried = tuple(word.strip() for word in words)
        size = require_split_size(split_size)
        stream = self._punctuator.stream(PunctuationState(carried=carried), split_size=size)
        found = stream.accept(require_text(text))
        memory["cache"] = list(stream.carried)
        labels = found.labels[max(len(carried) - 1, 0) :]
        names = self._punctuator.marks.marks
        # What stands after the last word is known with the next call.
        marks = [*(names[label] for label in labels[:-1]), "_"] if labels else []
        return found.text, marks, memory["cache"]
