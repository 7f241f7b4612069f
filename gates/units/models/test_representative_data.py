"""Representative data that would measure other ranges than the product meets is refused, with finding and limit."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from ecdd.contract.loading import load_contract

pytest.importorskip("torch", reason="extra `train` is not installed")

from ecdd.export.export_error import ExportError
from ecdd.export.representative_data import RepresentativeSet, check_ranges, check_representative
from ecdd.export.variants import RepresentativePictures
from ecdd.pipeline.preprocess import normalise

CONTRACT = load_contract()
POLICY = CONTRACT.policy
LEAST, SIDE = POLICY.quantization.min_representative, POLICY.pixel_pipeline.input_size


def pictures(n: int) -> RepresentativeSet:
    """Seeded noise in levels: what the checks look at is values."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    tensors = np.stack([normalise(one, POLICY.pixel_pipeline) for one in pixels])
    ids = tuple(hashlib.sha256(one.tobytes()).hexdigest() for one in pixels)
    return RepresentativeSet(ids, tensors, CONTRACT.tensor_digest)


GOOD = pictures(LEAST)


def test_good_data_is_accepted() -> None:
    check_representative(GOOD, POLICY)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (replace(GOOD, ids=(), tensors=GOOD.tensors[:0]), f"0 pictures; .*min_representative asks for {LEAST}"),
        (pictures(1), f"1 pictures; .*min_representative asks for {LEAST}"),
        (replace(GOOD, ids=(GOOD.ids[0], *GOOD.ids[:-1])), "1 pictures stand twice"),
        (replace(GOOD, ids=GOOD.ids[:-1]), f"{LEAST - 1} ids for {LEAST} tensors"),
        (replace(GOOD, tensors=(GOOD.tensors + 2.2) / 5), "no picture made these tensors"),
        (replace(GOOD, tensors=np.random.default_rng(2).uniform(-1, 1, GOOD.tensors.shape).astype(np.float32)),
         "no picture made these tensors"),
    ],
    ids=["empty", "single", "twice", "an_id_missing", "other_normalisation", "noise"],
)  # fmt: skip
def test_bad_data_is_refused(data: RepresentativeSet, said: str) -> None:
    with pytest.raises(ExportError, match=f"representative data: .*{said}"):
        check_representative(data, POLICY)


def test_tensors_of_another_shape_or_range_are_refused() -> None:
    levels = np.full((LEAST, SIDE, SIDE, 3), 128, np.float32)  # 0 to 255: nobody divided
    not_finite = np.zeros_like(levels)
    not_finite[0, 0, 0, 0] = np.nan
    for tensors in (GOOD.tensors[:, 1:], levels, not_finite):
        with pytest.raises(ExportError, match="the tensors are not S4 of this contract"):
            check_representative(replace(GOOD, tensors=tensors), POLICY)


def test_a_range_that_hangs_on_single_pictures_is_refused() -> None:
    limit = POLICY.quantization.max_range_instability
    quiet = {"stem": (-1.0, 1.0), "mix": (0.0, 2.0)}
    assert check_ranges(quiet, quiet, limit) == 1.0
    assert check_ranges(quiet, {**quiet, "mix": (0.0, 2.5)}, limit) == pytest.approx(1.25)
    with pytest.raises(ExportError, match=r"gives mix a range 3.00 times as wide .* at most 1.5"):
        check_ranges(quiet, {**quiet, "mix": (0.0, 6.0)}, limit)
    with pytest.raises(ExportError, match="gives stem a range"):
        check_ranges({**quiet, "stem": (0.0, 0.0)}, quiet, limit)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_depends_on_digests_alone(seed: int) -> None:
    most, offered = 20, pictures(60)
    order = np.random.default_rng(seed).permutation(60)
    kept = RepresentativePictures(most)
    for index in order:
        kept(offered.ids[index], offered.tensors[index : index + 1])
    chosen = kept.chosen(CONTRACT)
    assert list(chosen.ids) == sorted(offered.ids)[:most]
    places = [offered.ids.index(one) for one in chosen.ids]
    np.testing.assert_array_equal(chosen.tensors, offered.tensors[places])
    assert len(kept._kept) == most, "no more tensors are held than will be used"
