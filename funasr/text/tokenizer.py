"""Text -> vocabulary ids for training and hotwords; ids -> vocabulary strings -> words for results."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from funasr.errors import MissingDependencyError, ModelFilesError, did_you_mean
from funasr.result import Token
from funasr.text.join import (
    CONTINUES,
    WORD_START,
    Joiner,
    PieceJoiner,
    WordStartJoiner,
    merge_pieces,
    merge_word_starts,
)

SegDict = Mapping[str, tuple[str, ...]]
"""Lower-case word -> its vocabulary pieces."""

_SPLITS_INTO_CHARACTERS = re.compile(r"[\u4e00-\u9fa5A-Za-z0-9]")


class Tokenizer(Protocol):
    """What the stages need of a vocabulary. Immutable: any number of threads may use one."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def unk_id(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Ids of a line of text; what the vocabulary lacks becomes `unk_id`."""
        ...

    def encode_phrase(self, phrase: str) -> tuple[int, ...] | None:
        """Ids of a hotword, or None when a part of it is not in the vocabulary."""
        ...

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The vocabulary string of each id."""
        ...

    def words(self, pieces: Sequence[Token]) -> tuple[Token, ...]:
        """Pieces (one id each, text as in `tokens`) -> words, with their times, ids and confidences."""
        ...

    def joiner(self) -> Joiner:
        """`words` for a stream: nothing heard yet."""
        ...


class CharTokenizer:
    """Chinese characters and English pieces, as in the `tokens.json` and `seg_dict` of Paraformer models."""

    def __init__(
        self,
        token_list: Sequence[str],
        *,
        seg_dict: SegDict | None = None,
        unk_symbol: str = "<unk>",
        split_with_space: bool = True,
    ) -> None:
        """`split_with_space`: a blank-separated word that is itself in the vocabulary is not taken apart."""
        self.token_list = tuple(token_list)
        self._ids = {token: id_ for id_, token in enumerate(self.token_list)}
        if len(self._ids) != len(self.token_list):
            twice = next(token for id_, token in enumerate(self.token_list) if self._ids[token] != id_)
            raise ModelFilesError(f"the token list has {twice!r} more than once; each entry must be unique")
        if unk_symbol not in self._ids:
            raise ModelFilesError(
                f"the token list of {len(self.token_list)} entries has no {unk_symbol!r}; "
                "add it, or name the entry for unknown words in tokenizer_conf.unk_symbol"
            )
        self._unk_symbol = unk_symbol
        self._seg_dict = dict(seg_dict) if seg_dict is not None else None
        self._split_with_space = split_with_space

    @classmethod
    def from_files(
        cls,
        token_list: str | Path,
        seg_dict: str | Path | None = None,
        *,
        unk_symbol: str = "<unk>",
        split_with_space: bool = True,
    ) -> CharTokenizer:
        """Read `tokens.json` (or `tokens.txt`) and `seg_dict`; ModelFilesError for unreadable ones."""
        return cls(
            read_token_list(token_list),
            seg_dict=read_seg_dict(seg_dict) if seg_dict is not None else None,
            unk_symbol=unk_symbol,
            split_with_space=split_with_space,
        )

    @property
    def vocab_size(self) -> int:
        return len(self.token_list)

    @property
    def unk_id(self) -> int:
        return self._ids[self._unk_symbol]

    def encode(self, text: str) -> list[int]:
        """With a seg_dict by the rules of the official training text; otherwise character by character.

        A word that seg_dict lacks is split into characters when it begins with a Chinese character, a letter
        or a digit, and is unknown otherwise.
        """
        pieces: list[str] = []
        for word in text.split():
            pieces += self._pieces_of(word)
        return [self._ids.get(piece, self.unk_id) for piece in pieces]

    def _pieces_of(self, word: str) -> Sequence[str]:
        if self._seg_dict is not None:
            lower = word.lower()
            if lower in self._seg_dict:
                return self._seg_dict[lower]
            if not _SPLITS_INTO_CHARACTERS.match(lower):
                return [self._unk_symbol]
            return [piece for char in lower for piece in self._seg_dict.get(char, (self._unk_symbol,))]
        if self._split_with_space and word in self._ids:
            return [word]
        return list(word)

    def encode_phrase(self, phrase: str) -> tuple[int, ...] | None:
        """Ids of a hotword, or None when a part of it is not in the vocabulary.

        Words by seg_dict; Chinese characters and digits one by one; a mixed word such as `A股` part by part;
        letters in capitals that are no word (`GPU`) one by one, as the model writes them.
        """
        ids: list[int] = []
        for word in phrase.split():
            found = self._word_ids(word)
            if found is None:
                return None
            ids += found
        return tuple(ids) or None

    def _word_ids(self, word: str) -> list[int] | None:
        whole = self._known(word)
        if whole is not None:
            return whole
        parts = re.findall(r"[A-Za-z']+|.", word)
        ids: list[int] = []
        for part in parts:
            found = self._known(part)
            if found is None and part.isascii() and part.isupper():
                letters = [self._known(letter) for letter in part]
                found = [i for ids_ in letters if ids_ is not None for i in ids_]
                found = None if None in letters else found
            if found is None:
                return None
            ids += found
        return ids

    def _known(self, word: str) -> list[int] | None:
        """Ids of one seg_dict entry or vocabulary entry, or None."""
        lower = word.lower()
        pieces = (self._seg_dict or {}).get(lower, (lower,))
        if self._unk_symbol in pieces or not all(piece in self._ids for piece in pieces):
            return None
        return [self._ids[piece] for piece in pieces]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self.token_list[id_] for id_ in ids]

    def words(self, pieces: Sequence[Token]) -> tuple[Token, ...]:
        return merge_word_starts(pieces) if self._marks_word_starts else merge_pieces(pieces)

    def joiner(self) -> Joiner:
        return WordStartJoiner() if self._marks_word_starts else PieceJoiner()

    @cached_property
    def _marks_word_starts(self) -> bool:
        """The vocabulary was made by SentencePiece: `▁the` rather than `th@@ e`."""
        return any(token.startswith(WORD_START) for token in self.token_list) and not any(
            token.endswith(CONTINUES) for token in self.token_list
        )


class SentencepieceTokenizer:
    """A `bpe.model` of SentencePiece."""

    def __init__(self, bpe_model: str | Path) -> None:
        """Raises MissingDependencyError without sentencepiece, ModelFilesError for a file it cannot read."""
        try:
            import sentencepiece
        except ImportError as error:
            raise MissingDependencyError(
                "sentencepiece", f"the vocabulary {bpe_model}", "pip install sentencepiece"
            ) from error
        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(bpe_model))
        except (OSError, RuntimeError) as error:
            raise ModelFilesError(f"cannot read {bpe_model} as a SentencePiece model: {error}") from error

    @property
    def vocab_size(self) -> int:
        return int(self._processor.get_piece_size())

    @property
    def unk_id(self) -> int:
        return int(self._processor.unk_id())

    def encode(self, text: str) -> list[int]:
        return [int(id_) for id_ in self._processor.encode(text)]

    def encode_phrase(self, phrase: str) -> tuple[int, ...] | None:
        ids = tuple(self.encode(phrase.strip()))
        return None if not ids or self.unk_id in ids else ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text, as SentencePiece itself joins it."""
        return str(self._processor.decode([int(id_) for id_ in ids]))

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [str(self._processor.id_to_piece(int(id_))) for id_ in ids]

    def words(self, pieces: Sequence[Token]) -> tuple[Token, ...]:
        return merge_word_starts(pieces)

    def joiner(self) -> Joiner:
        return WordStartJoiner()

    def find(self, piece: str) -> int | None:
        """The id of a vocabulary entry, or None."""
        id_ = int(self._processor.piece_to_id(piece))
        return id_ if self.tokens([id_]) == [piece] else None

    def surfaces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text: joined they are `decode(ids)`."""
        whole = self.decode(ids)
        raw = [
            "" if self._processor.is_control(int(id_)) else text.replace(WORD_START, " ")
            for id_, text in zip(ids, self.tokens(ids), strict=True)
        ]
        # Most vocabularies have the first word begin with a blank that the text does not show.
        shown = [text.removeprefix(" ") if i == 0 else text for i, text in enumerate(raw)]
        for surfaces in (raw, shown):
            if "".join(surfaces) == whole:
                return surfaces
        # Letters spelt byte by byte, unknown ones, or special ids in front: as SentencePiece itself has it.
        grown = [self.decode(ids[:count]) for count in range(len(ids) + 1)]
        ends = [_agreement(text, whole) for text in grown]
        return [whole[begin:end] for begin, end in itertools.pairwise(itertools.accumulate(ends, max))]


def open_tokenizer(
    name: str,
    tokenizer_conf: Mapping[str, Any],
    *,
    token_list: Path | None,
    seg_dict: Path | None,
    bpe_model: Path | None,
) -> Tokenizer:
    """The tokenizer that a config.yaml names in `tokenizer:`, with the files found in the model's directory.

    Raises ModelFilesError when its vocabulary is missing or nobody here knows the name.
    """
    if name == "CharTokenizer":
        if token_list is None:
            raise ModelFilesError("the model has no tokens.json or tokens.txt, which its CharTokenizer needs")
        return CharTokenizer.from_files(
            token_list,
            seg_dict,
            unk_symbol=str(tokenizer_conf.get("unk_symbol", "<unk>")),
            split_with_space=bool(tokenizer_conf.get("split_with_space", True)),
        )
    if name == "SentencepiecesTokenizer":
        if bpe_model is None:
            raise ModelFilesError("the model has no bpe.model, which its SentencepiecesTokenizer needs")
        return SentencepieceTokenizer(bpe_model)
    known = ("CharTokenizer", "SentencepiecesTokenizer")
    raise ModelFilesError(
        f"the model's config names the tokenizer {name!r}{did_you_mean(name, known) or '.'} "
        f"This release has {' and '.join(known)}."
    )


def _agreement(one: str, other: str) -> int:
    """How many characters they have in common from the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def read_token_list(path: str | Path) -> list[str]:
    """`tokens.json` (a list of strings) or `tokens.txt` (one a line): position = id."""
    path = Path(path)
    text = _read_text(path)
    if path.suffix != ".json":
        # Not splitlines(): a vocabulary may hold characters that Unicode counts as line ends.
        return [line.rstrip() for line in text.removesuffix("\n").split("\n")]
    try:
        tokens = json.loads(text)
    except ValueError as error:
        raise ModelFilesError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ModelFilesError(f"{path} must hold a JSON list of strings, position = id")
    return tokens


def read_seg_dict(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Lines `word piece1 piece2 ...`; a word alone stands for itself."""
    table: dict[str, tuple[str, ...]] = {}
    for line in _read_text(Path(path)).splitlines():
        word, *pieces = line.split() or [""]
        if word:
            table[word] = tuple(pieces) or (word,)
    return table


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFilesError(f"cannot read {path}: {error}") from error
