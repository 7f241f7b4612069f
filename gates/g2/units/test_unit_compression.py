"""JPEG quality from tables, blockiness from pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ecdd.pipeline.compression import (
    STANDARD_CHROMA,
    STANDARD_LUMA,
    JpegQuality,
    blockiness,
    jpeg_quality,
    scaled_table,
)
from gates.support.drawn_faces import texture


def tables_of(data: bytes) -> list[tuple[int, ...]]:
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, JpegImageFile)
        return [tuple(table) for _, table in sorted(image.quantization.items())]


def encode(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_quality_of_the_ijg_library_is_recovered_exactly(mode: str) -> None:
    image = Image.new(mode, (16, 16))
    found = [jpeg_quality(tables_of(encode(image, quality))) for quality in range(1, 101)]
    assert found == [JpegQuality(float(quality), "exact") for quality in range(1, 101)]


def test_no_tables_are_unknown_and_not_perfect() -> None:
    assert jpeg_quality(None) == JpegQuality(None, "unknown")
    assert jpeg_quality(()) == JpegQuality(None, "unknown")


@settings(deadline=None)
@given(quality=st.integers(3, 95), seed=st.integers(0, 2**32 - 1))
def test_nearly_standard_tables_are_estimated_close_by(quality: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = []
    for base in (STANDARD_LUMA, STANDARD_CHROMA):
        table = np.array(scaled_table(base, quality))
        table[rng.integers(64)] += 1
        tables.append(tuple(int(v) for v in np.clip(table, 1, 255)))
    if tables == [scaled_table(STANDARD_LUMA, quality), scaled_table(STANDARD_CHROMA, quality)]:
        return
    found = jpeg_quality(tables)
    assert found.kind == "estimated"
    assert found.value == pytest.approx(quality, abs=1)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 65535), min_size=64, max_size=64), min_size=1, max_size=4))
def test_any_tables_give_a_quality_in_range(tables: list[list[int]]) -> None:
    found = jpeg_quality(tables)
    assert found.value is not None
    assert 1 <= found.value <= 100


def test_a_mixed_pair_is_not_exact() -> None:
    pair = [scaled_table(STANDARD_LUMA, 40), scaled_table(STANDARD_CHROMA, 80)]
    assert jpeg_quality(pair) == JpegQuality(60.0, "estimated")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (7, 1)])
def test_blockiness_rises_with_compression_wherever_the_grid_lies(seed: int, shift: tuple[int, int]) -> None:
    def measured(quality: int) -> float:
        image = Image.open(io.BytesIO(encode(texture(seed), quality)))
        return blockiness(np.asarray(image)[shift[1] :, shift[0] :])

    values = [measured(quality) for quality in (90, 50, 20, 8)]
    assert values == sorted(values)
    assert values[0] < 1.2 < values[-1]


def test_blockiness_survives_saving_at_high_quality() -> None:
    heavy = Image.open(io.BytesIO(encode(texture(1), 10)))
    again = Image.open(io.BytesIO(encode(heavy, 95)))
    first, second = blockiness(np.asarray(heavy)), blockiness(np.asarray(again))
    assert second == pytest.approx(first, rel=0.03)
    assert second > 1.3


def test_one_straight_edge_of_the_scene_is_not_a_block_grid() -> None:
    stripes = np.zeros((128, 128), np.uint8)
    stripes[:, 64:] = 200
    assert blockiness(stripes) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_blockiness_is_finite_for_any_size(width: int, height: int, seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    value = blockiness(grey)
    assert np.isfinite(value)
    assert value >= 0.9 if min(width, height) >= 24 else value == 1.0
