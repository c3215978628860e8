"""am.mvn: read, written, and computed from features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from funasr.errors import InputError, ModelFilesError
from funasr.features.cmvn import compute_cmvn, read_cmvn, write_cmvn

OFFICIAL = """<Nnet>
<Splice> 3 3
[ 0 ]
<AddShift> 3 3
<LearnRateCoef> 0 [ -8.311879 -8.6 1e1 ]
<Rescale> 3 3
<LearnRateCoef> 0 [ 0.155775 0.25 2 ]
</Nnet>
"""


def test_the_official_form_gives_shift_and_scale(tmp_path: Path) -> None:
    (tmp_path / "am.mvn").write_text(OFFICIAL)

    shift, scale = read_cmvn(tmp_path / "am.mvn")

    np.testing.assert_array_equal(shift, np.float32([-8.311879, -8.6, 10]))
    np.testing.assert_array_equal(scale, np.float32([0.155775, 0.25, 2]))


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, 5, elements=floats), arrays(np.float32, 5, elements=floats))
def test_what_is_written_is_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, shift: np.ndarray, scale: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("cmvn") / "am.mvn"

    write_cmvn(path, shift, scale)

    np.testing.assert_array_equal(read_cmvn(path), [shift, scale])


def test_what_is_written_has_the_official_lines(tmp_path: Path) -> None:
    shift, scale = np.float32([-8.311879, -8.6, 10]), np.float32([0.155775, 0.25, 2])

    write_cmvn(tmp_path / "am.mvn", shift, scale)

    words, expected = (tmp_path / "am.mvn").read_text().split(), OFFICIAL.split()
    numbers = {word for word in expected if word[-1].isdigit()}
    assert [w for w in words if w[0] in "<[]"] == [w for w in expected if w[0] in "<[]"]
    assert [float(w) for w in words if w[-1].isdigit()] == [float(w) for w in expected if w in numbers]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("<Rescale> 3 3", "<Scale> 3 3"), "no line that begins with <Rescale>"),
        (("-8.6", "x"), "after <AddShift>"),
        (("[ 0.155775", "0.155775"), "after <Rescale>"),
        ((" 1e1 ]", " ]"), "2 values and <Rescale> 3"),
        (("<LearnRateCoef> 0 [ -8.311879 -8.6 1e1 ]", ""), "after <AddShift>"),
    ],
)
def test_a_damaged_file_says_where(tmp_path: Path, damage: tuple[str, str], said: str) -> None:
    (tmp_path / "am.mvn").write_text(OFFICIAL.replace(*damage))

    with pytest.raises(ModelFilesError, match=said):
        read_cmvn(tmp_path / "am.mvn")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"nowhere/am\.mvn"):
        read_cmvn(tmp_path / "nowhere" / "am.mvn")


def test_binary_junk_is_not_cmvn(tmp_path: Path) -> None:
    (tmp_path / "am.mvn").write_bytes(bytes(range(256)))

    with pytest.raises(ModelFilesError, match="cannot read the CMVN file"):
        read_cmvn(tmp_path / "am.mvn")


def test_rows_0_2_and_4_have_mean_2_and_variance_8_thirds() -> None:
    shift, scale = compute_cmvn([np.float32([[0], [2]]), np.empty((0, 1), np.float32), np.float32([[4]])])

    assert shift == pytest.approx([-2])
    assert scale == pytest.approx([(3 / 8) ** 0.5])


def test_features_normalised_with_their_own_statistics_have_mean_0_and_variance_1() -> None:
    rng = np.random.default_rng(0)
    utterances = [rng.normal(1000, 0.5, (rng.integers(1, 50), 4)).astype(np.float32) for _ in range(20)]

    shift, scale = compute_cmvn(utterances)

    rows = (np.concatenate(utterances).astype(np.float64) + shift) * scale
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(rows.var(axis=0), 1, atol=1e-3)


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no features"):
        compute_cmvn([])


def test_a_feature_that_never_changes_has_a_finite_scale() -> None:
    assert np.isfinite(compute_cmvn([np.ones((3, 2), np.float32)])[1]).all()


def test_unequal_shift_and_scale_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 values and scale 2"):
        write_cmvn(tmp_path / "am.mvn", np.zeros(3, np.float32), np.ones(2, np.float32))


def test_the_released_file_has_its_80_values_seven_times(shared: Path) -> None:
    shift, scale = read_cmvn(shared / "data/models/paraformer-large-zh/am.mvn")

    np.testing.assert_allclose(shift[:3], [-8.311879, -8.600912, -9.615928])
    np.testing.assert_allclose(scale[:3], [0.155775, 0.154484, 0.1527379])
    np.testing.assert_array_equal(shift, np.tile(shift[:80], 7))
    np.testing.assert_array_equal(scale, np.tile(scale[:80], 7))
