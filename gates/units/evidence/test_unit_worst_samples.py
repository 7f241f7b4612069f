"""Which face of a golden picture a report shows the heatmap of."""

from __future__ import annotations

import datetime

import pytest

from ecdd.evidence.report_pictures import GoldenSamples, Pictures, Sample
from ecdd.evidence.session import RunOptions, identify
from ecdd.specification import GOLDEN, ROOT


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("real_collins", "face 0, P(fake) = "),
        ("real_collins face 0", "face 0, P(fake) = "),
        ("real_collins face 9", "no heatmap: no such face reached the model"),
    ],
)
def test_without_a_face_it_is_that_of_the_deciding_one(name: str, shown: str) -> None:
    options = RunOptions(ROOT, None, None, GOLDEN, None, None, None, datetime.date(2026, 11, 27))
    judged = identify(options)
    found = GoldenSamples(options, judged, Pictures()).find(name, judged)
    assert isinstance(found, Sample)
    assert found.caption.startswith(shown)
    assert (found.heatmap is None) == shown.startswith("no heatmap")
