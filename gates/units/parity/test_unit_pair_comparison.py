"""Two made files compared over made pictures: names, the worst sample, the first few, and whose pixels differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecdd.contract.loading import load_contract
from ecdd.parity.pair_comparison import ComparedSide, PairParity, compare_pair
from ecdd.parity.pictures import InputRule, PicturePipeline, PreparedTensors
from ecdd.parity.runtime_pair import Side, side_of_content
from ecdd.runtimes.integer_io import AffineQuantisation
from gates.support.made_models import SIDE, with_pooled

CONTRACT = load_contract()
RULE = InputRule(CONTRACT, (SIDE, SIDE))
HALVES = AffineQuantisation("int8", 0.5, 0)  # of the candidate: what is no multiple of 0.5 is rounded


class _Made(PicturePipeline):
    """Pictures with one face for every number given for them, all pixels that number."""

    def __init__(self, faces: Mapping[str, Sequence[float]], rule: InputRule = RULE) -> None:
        self.rule, self.faces = rule, faces

    def prepare(self, path: Path) -> PreparedTensors:
        s4 = np.stack([np.full((SIDE, SIDE, 3), value, np.float32) for value in self.faces[path.name]])
        return PreparedTensors(path.name, np.zeros(s4.shape, np.uint8), s4, (), ())


@pytest.fixture(scope="module")
def sides() -> tuple[Side, Side]:
    """The map is the picture's own pixels, in float and in steps of 0.5."""
    contents = with_pooled().content(), with_pooled(given=HALVES, answered=HALVES).content()
    return side_of_content(contents[0], "tflite", "reference"), side_of_content(contents[1], "tflite", "candidate")


def compared(sides: tuple[Side, Side], faces: Mapping[str, Sequence[float]], other: _Made | None = None) -> PairParity:
    pipelines = _Made(faces), other or _Made(faces)
    reference, candidate = (ComparedSide(side, one, None) for side, one in zip(sides, pipelines, strict=True))
    pictures = [(name, Path(name)) for name in faces]
    return compare_pair(reference, candidate, pictures, CONTRACT.policy.pooling, None)


def test_faces_are_numbered_where_a_picture_has_several(sides: tuple[Side, Side]) -> None:
    found = compared(sides, {"one": [0.5], "two": [1.0, 1.5]})
    assert found.names == ("one", "two face 0", "two face 1")
    assert found.reference.maps[:, 0, 0].tolist() == [0.5, 1.0, 1.5]


def test_the_worst_sample_is_the_one_that_differs_most(sides: tuple[Side, Side]) -> None:
    """However large its logits are."""
    found = compared(sides, {"large": [20.0], "little off": [0.1], "far off": [3.0, 0.25 - 1e-3], "none": [0.0]})
    assert found.worst.name == "far off face 1"
    assert found.patch.max_difference == pytest.approx(0.249)


def test_the_first_four_samples_are_kept_for_the_layers(sides: tuple[Side, Side]) -> None:
    found = compared(sides, {"a": [1.0], "b": [1.0, 1.0], "c": [1.0, 1.0], "d": [1.0], "e": [1.0]})
    assert [one.name for one in found.first] == ["a", "b face 0", "b face 1", "c face 0"]


@pytest.mark.parametrize(("same", "verdict"), [(True, "fail"), (False, None)])
def test_another_tensor_is_a_failure_under_one_rule_alone(
    sides: tuple[Side, Side], same: bool, verdict: str | None
) -> None:
    """Two contracts may make other tensors of a picture; one may not."""
    other = _Made({"a": [1.5]}, RULE if same else replace(RULE, whole_picture=True))
    (found,) = [one for one in compared(sides, {"a": [1.0]}, other).metrics if one.name.endswith("another_tensor")]
    assert (found.value, found.worst, found.verdict) == (1, "a", verdict)
