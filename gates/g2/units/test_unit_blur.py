"""Variance of the Laplacian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from ecdd.contract.loading import load_contract
from ecdd.golden.golden_sets import load_golden
from ecdd.pipeline.blur import laplacian_variance, luma
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.pipeline.stages import prepare
from gates.g2.test_e2_7_blur import compare_least_sharp
from gates.support.drawn_faces import draw_face, texture
from gates.support.fixtures import Evidence

GOLDEN = Path(__file__).parents[3] / "golden"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_luma_is_the_decoder_library_s_own_integer_formula(seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    np.testing.assert_array_equal(luma(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(3, 40), width=st.integers(3, 40))
def test_integer_variance_equals_the_definition(seed: int, height: int, width: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    y = luma(rgb).astype(np.float64)
    edges = np.zeros((height - 2, width - 2))
    for dy, dx, weight in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, -4)):
        edges += weight * y[dy : dy + height - 2, dx : dx + width - 2]
    assert laplacian_variance(rgb) == pytest.approx(edges.var(), rel=1e-12, abs=1e-9)


def test_largest_value_does_not_overflow() -> None:
    chequer = np.indices((256, 256)).sum(axis=0) % 2 * 255
    rgb = np.repeat(chequer[..., None], 3, axis=2).astype(np.uint8)
    assert laplacian_variance(rgb) == pytest.approx(1020.0**2)


def test_a_flat_picture_and_a_ramp_have_none() -> None:
    assert laplacian_variance(np.full((256, 256, 3), 77, np.uint8)) == 0
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, axis=2)
    assert laplacian_variance(ramp) == 0


def test_it_falls_with_every_blur() -> None:
    picture = texture(0, 256).convert("RGB")
    values = [
        laplacian_variance(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)) if radius else picture))
        for radius in (0, 1, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 4 * values[2]


def test_noise_defeats_it() -> None:
    """A known weakness, stated so that nobody relies on the opposite."""
    blurred = np.asarray(draw_face(256).filter(ImageFilter.GaussianBlur(4)), np.float64)
    noisy = np.clip(np.rint(blurred + np.random.default_rng(0).normal(0, 6, blurred.shape)), 0, 255)
    assert laplacian_variance(noisy.astype(np.uint8)) > laplacian_variance(np.asarray(draw_face(256)))


@pytest.mark.parametrize("side", [160, 224, 384])
def test_the_models_size_does_not_move_the_limit(side: int) -> None:
    """Faces of the golden set near the limit keep number and code where a model reads another size."""
    golden, contract = load_golden(GOLDEN), load_contract()
    other = contract.with_values({"pixel_pipeline.input_size": side}).policy
    finder, found = load_detector(contract.policy.face_detector), []
    for item in ("real_oath_b", "fake_resynthesis_oath_a", "group_4", "real_collins"):
        content = golden.file(golden.item(item)).read_bytes()
        faces = [prepare(content, policy, finder).faces for policy in (contract.policy, other)]
        assert [one.s3.shape[0] for one in faces[1]] == [side] * len(faces[0])
        assert [one.quality for one in faces[0]] == [one.quality for one in faces[1]]
        found += [ReasonCode.TOO_BLURRY in one.reason_codes for one in faces[1]]
    assert set(found) == {True, False}, "either side of the limit"


def _judged(label: int, index: int, probability: float) -> dict[str, object]:
    verdict = "abstain" if 0.2 < probability < 0.8 else "fake" if probability >= 0.8 else "real"
    return {"label": label, "scope": "face", "outcome": "scored", "verdict": verdict, "probability": probability,
            "reason_codes": "", "blur": 30.0 + index, "file_sha256": f"{label}{index:04}"}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "red"),
    [
        ([], set()),
        ([(0, k) for k in range(4)], {"fpr_increase_near_limit"}),
        ([(1, k) for k in range(4)], {"fnr_increase_near_limit"}),
        ([(label, 150 + k) for label in (0, 1) for k in range(9)], set()),  # errors among the sharp are no matter here
    ],
)
def test_a_limit_below_which_faces_are_misjudged_is_red(
    wrong: list[tuple[int, int]], red: set[str], tmp_path: Path
) -> None:
    rows = [_judged(y, k, float(y) if (y, k) not in wrong else 1.0 - y) for y in (0, 1) for k in reversed(range(200))]
    evidence = Evidence("E2.7", "unit", tmp_path)
    compare_least_sharp(evidence, load_contract().policy, rows)
    assert {metric.name for metric in evidence.metrics if metric.verdict != "pass"} == red
    assert [metric.n for metric in evidence.metrics] == [20, 20]
    evidence = Evidence("E2.7", "unit", tmp_path)
    compare_least_sharp(evidence, load_contract().policy, rows[:200] + rows[200:239])
    assert len(evidence.metrics) == 1
    assert "fewer than 40 faces" in evidence.missing[0].why
