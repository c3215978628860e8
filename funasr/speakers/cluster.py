"""Voices of windows (N, E) -> which speaker each is of (N,). How many speakers there are may be known or not.

N windows, E embedding size, K speakers. Few windows are merged pairwise, a few thousand are parted by the
spectrum of the graph of their nearest neighbours, and of more that graph is drawn of groups of them.
Nothing is random: every draw has its own seed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.errors import MissingDependencyError, OptionError, did_you_mean, install_extra
from funasr.speakers.evidence import Spread, part

Voices = NDArray[np.float32]
Labels = NDArray[np.int64]

FEW = 20
"""Below, the spectrum of a graph says nothing."""
MANY = 2048
"""From here on groups of windows are looked at, as a matrix of all pairs would grow too large."""
GROUPS = 2000
GROUP_ROWS = 30_000
"""Windows, evenly spaced, that the groups are made from."""

NEIGHBOURS = 0.022
"""Share of all windows that a window is connected with, but not fewer than 6."""
FEWEST_NEIGHBOURS = 6

_OPTIONS = {"count": "preset_spk_num", "min_count": "min_spk_num", "max_count": "max_spk_num"}
"""What callers know the fields by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """What is known about the speakers. Raises OptionError for numbers that make no sense."""

    count: int | None = None
    """How many there are (upstream's `preset_spk_num`); never more than there are windows."""
    min_count: int = 1
    max_count: int = 15
    merge_thr: float = 0.78
    """Speakers whose mean voices are this similar (cosine) become one, where their number is not known."""
    split_thr: float = 0.25
    """Fewer than 20 windows: speakers whose voices are on average less similar than this are two."""
    spread: Spread | None = None
    """What the network's voices are like, where that is known. Speakers are then parted by evidence, and the
    two numbers above are of no use."""

    def __post_init__(self) -> None:
        for name in ("count", "min_count", "max_count"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise OptionError(
                    f"{_OPTIONS[name]} is {value!r}; it must be a number of speakers, 1 or more"
                )
        if self.min_count > self.max_count:
            raise OptionError(
                f"min_spk_num is {self.min_count} and max_spk_num {self.max_count}: no number is between them"
            )
        for name in ("merge_thr", "split_thr"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise OptionError(f"{name} is {value!r}; it is a cosine, from -1 to 1")

    @classmethod
    def from_official(cls, cb_kwargs: Any) -> ClusterOptions:
        """`cb_kwargs` of upstream's `spk_kwargs`. Raises OptionError for unknown names."""
        names = {field.name for field in fields(cls)} - {"spread"}
        for name in cb_kwargs:
            if name not in names:
                raise OptionError(f"cb_kwargs has no option {name!r}{did_you_mean(name, names)}")
        return cls(**cb_kwargs)


def cluster(voices: Voices, options: ClusterOptions | None = None) -> Labels:
    """voices (N, E) in the order of time -> labels (N,), numbered 0, 1, ... as they first appear.

    Time grows as N log N from some thousand windows on, and memory as N. Raises MissingDependencyError
    without scikit-learn.
    """
    options = options or ClusterOptions()
    total = len(voices)
    if total == 0 or min(options.count or options.max_count, total) == 1:
        return np.zeros(total, dtype=np.int64)
    if options.spread is not None:
        least, most = options.count or options.min_count, options.count or options.max_count
        return by_appearance(part(voices, options.spread, at_least=least, at_most=most))
    require_scikit_learn()
    rows = normalized(voices)
    if options.count is not None:
        return by_appearance(k_means(rows, options.count) if total >= MANY else _parted(rows, options))
    if total < FEW:
        return by_appearance(_pairwise(rows, options))
    labels = _parted(rows, options) if total < MANY else _grouped(rows, options)
    return by_appearance(merge_similar(voices, labels, options))


def by_appearance(labels: Labels) -> Labels:
    """The same parting, numbered 0, 1, ... in the order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def centres(voices: Voices, labels: Labels) -> Voices:
    """(K, E) mean voice of each label 0, 1, ..., K - 1."""
    sums = np.zeros((int(labels.max(initial=-1)) + 1, voices.shape[1]))
    np.add.at(sums, labels, voices)
    return (sums / np.bincount(labels)[:, None]).astype(np.float32)


def normalized(voices: Voices) -> Voices:
    """Each row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(voices, axis=1, keepdims=True)
    return (voices / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def merge_similar(voices: Voices, labels: Labels, options: ClusterOptions) -> Labels:
    """Join the two speakers with the most similar mean voices, until none are similar enough."""
    labels = by_appearance(labels)
    sums = centres(voices, labels) * np.bincount(labels)[:, None]
    while len(sums) > options.min_count:
        means = normalized(sums)
        likeness = means @ means.T
        likeness[np.tril_indices(len(means))] = -2
        first, second = divmod(int(likeness.argmax()), len(means))
        if likeness[first, second] < options.merge_thr:
            break
        sums[first] += sums[second]
        sums = np.delete(sums, second, axis=0)
        labels = np.where(labels == second, first, labels)
        labels = labels - (labels > second)
    return labels


def _parted(rows: Voices, options: ClusterOptions) -> Labels:
    if len(rows) < 2:
        return np.zeros(len(rows), dtype=np.int64)
    return _pairwise(rows, options) if len(rows) < FEW else _spectral(rows, options)


def _pairwise(rows: Voices, options: ClusterOptions) -> Labels:
    """Merge the two most alike, by the mean over their windows, until the number is right.

    Upstream calls everyone one speaker here, even where the number is given.
    """
    from sklearn.cluster import AgglomerativeClustering

    def parted(count: int | None) -> Labels:
        model = AgglomerativeClustering(
            n_clusters=count,
            distance_threshold=1 - options.split_thr if count is None else None,
            metric="precomputed",
            linkage="average",
        )
        labels: Labels = model.fit_predict(1 - rows @ rows.T).astype(np.int64)
        return labels

    if options.count is not None:
        return parted(min(options.count, len(rows)))
    labels = parted(None)
    found = int(labels.max()) + 1
    wanted = min(max(found, options.min_count), options.max_count, len(rows))
    return labels if wanted == found else parted(wanted)


def _spectral(rows: Voices, options: ClusterOptions) -> Labels:
    """The graph of nearest neighbours, cut into as many parts as it nearly falls into by itself."""
    from scipy.linalg import eigh

    total, count = len(rows), options.count
    graph = _graph(rows)
    laplacian = -graph
    laplacian[np.diag_indices(total)] = np.abs(graph).sum(axis=1)
    wanted = min(count or options.max_count + 1, total)
    values, vectors = eigh(laplacian, subset_by_index=[0, wanted - 1], overwrite_a=True, check_finite=False)
    if count is None:
        gaps = np.diff(values)  # gaps[k - 1] lies behind the k smallest
        first = min(options.min_count, len(gaps)) - 1
        count = first + 1 + int(np.argmax(gaps[first : options.max_count]))
    return k_means(vectors[:, :count], count)


def _graph(rows: Voices) -> NDArray[np.float64]:
    """(N, N) symmetric: the cosine of each window and its nearest neighbours, 0 elsewhere."""
    total = len(rows)
    likeness = (rows @ rows.T).astype(np.float64)
    share = NEIGHBOURS if total * NEIGHBOURS >= FEWEST_NEIGHBOURS else FEWEST_NEIGHBOURS / total
    away = int((1 - share) * total)
    smallest = np.argpartition(likeness, away - 1, axis=1)[:, :away]
    np.put_along_axis(likeness, smallest, 0.0, axis=1)
    graph: NDArray[np.float64] = 0.5 * (likeness + likeness.T)
    np.fill_diagonal(graph, 0.0)
    return graph


def _grouped(rows: Voices, options: ClusterOptions) -> Labels:
    """Part groups of windows with similar voices instead of the windows themselves."""
    from sklearn.cluster import KMeans

    sample = np.unique(rows[:: -(-len(rows) // GROUP_ROWS)], axis=0)
    groups = KMeans(min(GROUPS, len(sample)), init="random", n_init=1, max_iter=10, random_state=0).fit(
        sample
    )
    members: Labels = groups.predict(rows).astype(np.int64)
    return _parted(normalized(groups.cluster_centers_), options)[members]


def k_means(rows: NDArray[Any], count: int) -> Labels:
    """(N, D) -> labels (N,), the best of ten beginnings."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(rows, axis=0)))
    labels: Labels = KMeans(count, n_init=10, random_state=0).fit_predict(rows).astype(np.int64)
    return labels


def require_scikit_learn() -> None:
    """Raises MissingDependencyError where telling speakers apart is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "scikit-learn", "telling speakers apart", install_extra("speakers")
        ) from error
