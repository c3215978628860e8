"""Text -> the words that a punctuation model reads, and their vocabulary ids. Marks follow words."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from funasr.errors import MissingDependencyError, ModelFilesError
from funasr.text.tokenizer import read_token_list

Split: TypeAlias = Callable[[str], list[str]]
"""Text -> words. No character but white space is lost, and the order stays."""

_WORD = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
_ENGLISH = re.compile(r"[a-zA-Z']+")


def split_words(text: str) -> list[str]:
    """Runs of ASCII characters, and every other character alone; white space parts words.

    >>> split_words("it's 3.5GB，ok吗")
    ["it's", '3.5GB', '，', 'ok', '吗']
    """
    return [word for piece in text.split() for word in _WORD.findall(piece)]


class JiebaSplitter:
    """Chinese words by a dictionary, as the large released model was trained with.

    Pieces of English letters stay as they are; all that stands between two of them is put together without
    blanks and cut into words.
    """

    def __init__(self, user_dict: str | Path) -> None:
        """`user_dict`: lines of `word frequency`, which is the model's `jieba_usr_dict`.

        Raises MissingDependencyError without jieba, ModelFilesError for a file it cannot read.
        """
        try:
            with warnings.catch_warnings():  # its code is older than some rules of newer Pythons
                warnings.simplefilter("ignore")
                import jieba
        except ImportError as error:
            raise MissingDependencyError(
                "jieba", f"a model with the dictionary {user_dict}", "pip install jieba"
            ) from error
        # It sets up logging of its own to say on stderr that it reads its dictionary.
        jieba.setLogLevel(logging.WARNING)
        # An instance of our own: the dictionary of the process stays as it is.
        self._jieba: Any = jieba.Tokenizer()
        try:
            with open(user_dict, encoding="utf-8") as lines:
                self._jieba.load_userdict(lines)
        except (OSError, ValueError) as error:
            raise ModelFilesError(
                f"cannot read {user_dict} as a dictionary of jieba, lines of 'word frequency': {error}"
            ) from error

    def __call__(self, text: str) -> list[str]:
        words: list[str] = []
        for english, group in groupby(text.split(), lambda piece: bool(_ENGLISH.fullmatch(piece))):
            pieces = list(group)
            words += pieces if english else self._jieba.cut("".join(pieces), HMM=False)
        return words


class WordVocabulary:
    """The words that a punctuation model knows. Letters count as they are: `Hello` is not `hello`."""

    def __init__(self, token_list: Sequence[str], *, unk_symbol: str = "<unk>") -> None:
        """Raises ModelFilesError when an entry occurs twice or `unk_symbol` does not occur."""
        self._ids = {token: id_ for id_, token in enumerate(token_list)}
        if len(self._ids) != len(token_list):
            twice = next(token for id_, token in enumerate(token_list) if self._ids[token] != id_)
            raise ModelFilesError(f"the token list has {twice!r} more than once; each entry must be unique")
        if unk_symbol not in self._ids:
            raise ModelFilesError(
                f"the token list of {len(token_list)} entries has no {unk_symbol!r}; "
                "add it, or name the entry for unknown words in tokenizer_conf.unk_symbol"
            )
        self.unk_id = self._ids[unk_symbol]

    @classmethod
    def from_file(cls, path: str | Path, *, unk_symbol: str = "<unk>") -> WordVocabulary:
        """Read `tokens.json` or `tokens.txt`; ModelFilesError for an unreadable one."""
        return cls(read_token_list(path), unk_symbol=unk_symbol)

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, words: Iterable[str]) -> NDArray[np.int64]:
        """(T,) the id of each word, `unk_id` where it is not known."""
        return np.asarray([self._ids.get(word, self.unk_id) for word in words], dtype=np.int64)
