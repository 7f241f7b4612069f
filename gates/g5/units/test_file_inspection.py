"""What a file from elsewhere says of itself: which inputs are pictures, and nothing where its tables are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecdd.runtimes.inspection import FileFacts, _stated_problems, input_problems
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.model_interface import OPEN, TensorFacts
from gates.support.made_models import MadeModel

INT8 = AffineQuantisation("int8", 0.02, 3)
SCALE, DTYPE = "integers with a scale and a zero point", "float32, uint8, int8 or int16"


@pytest.mark.parametrize(
    ("dtype", "quantisation", "expected"),
    [
        ("float32", None, []),
        ("uint8", None, []),  # of levels as they are
        ("int8", INT8, []),
        ("int8", None, [SCALE]),
        ("int16", None, [SCALE]),
        ("int32", None, [DTYPE]),
    ],
)
def test_signed_integers_are_pictures_only_with_a_scale(
    dtype: str, quantisation: AffineQuantisation | None, expected: list[str]
) -> None:
    image = TensorFacts("image", dtype, (OPEN, 224, 224, 3), quantisation)
    found = input_problems(FileFacts(Path("m.tflite"), (image,), (), {}))
    assert [wanted for wanted, _, _ in found] == expected


def test_of_damaged_tables_nothing_is_said(tmp_path: Path) -> None:
    path, content = tmp_path / "m.tflite", MadeModel(dtype="int8").content()
    path.write_bytes(content)
    assert [wanted for wanted, _, _ in _stated_problems(path)] == [SCALE, SCALE]
    for end in range(len(content) // 2):
        path.write_bytes(content[:end])
        assert _stated_problems(path) == []
