"""``ecdd trace``: nine named stages, the same digests as the stages themselves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ecdd.cli import app
from ecdd.detector import Detector
from ecdd.golden.golden_outputs import compute_output
from ecdd.golden.golden_sets import GoldenItem
from gates.support.drawn_pictures import FAKE, contract, portrait

TWO = portrait(2, faces=2)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("tiny", contract(FAKE))


def test_every_stage_of_every_face_is_listed(detector: Detector) -> None:
    rows = detector.examine(TWO, "two.jpg").rows()
    per_face = [f"S{n}" for n in range(2, 8)]
    assert [row["stage"] for row in rows] == ["S0", "S1", *per_face, *per_face, "S8"]
    assert [row["face"] for row in rows[2:-1]] == [0] * 6 + [1] * 6
    json.dumps(rows)


def test_the_digests_are_those_of_the_bytes(detector: Detector) -> None:
    judgement = detector.examine(TWO, "two.jpg")
    rows = {(row["stage"], row["face"]): row for row in judgement.rows()}
    assert judgement.prepared is not None
    image: Image.Image = judgement.prepared.decoded.image
    face = judgement.prepared.faces[0]

    def digest(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    assert rows["S0", None]["file"] == f"sha256-file-bytes:{digest(TWO)}"
    assert rows["S1", None]["image"] == f"sha256-rgb-uint8-hwc-{image.height}x{image.width}:{digest(image.tobytes())}"
    crop = image.crop(face.crop_box)
    assert rows["S2", 0]["crop"] == f"sha256-rgb-uint8-hwc-{crop.height}x{crop.width}:{digest(crop.tobytes())}"
    assert rows["S3", 0]["image"] == f"sha256-rgb-uint8-hwc-256x256x3:{digest(face.s3.tobytes())}"
    policy = detector.policy.pixel_pipeline
    exact = (face.s3 * policy.pixel_scale - np.array(policy.normalisation_mean)) / np.array(policy.normalisation_std)
    s4 = exact.astype("<f4")
    assert rows["S4", 0]["tensor"] == f"sha256-float32-hwc-256x256x3:{digest(s4.tobytes())}"
    judged = judgement.judged[0]
    assert rows["S6", 0]["pooled_logit"] == judged.pooled_logit
    assert rows["S7", 0]["probability"] == judged.probability
    row, col = rows["S5", 0]["argmax"]
    assert judged.patch_map[row, col] == judged.patch_map.max()


def test_a_rejected_file_has_its_label_only(detector: Detector) -> None:
    (row,) = detector.examine(b"nothing", "a.jpg").rows()
    assert (row["stage"], row["label"], row["outcome"]) == ("S8", "abstain", "rejected")
    assert row["reason_codes"]


def test_a_picture_without_a_face_stops_at_s1(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (200, 150), (80, 90, 100)).save(path)
    rows = detector.examine(path).rows()
    assert [row["stage"] for row in rows] == ["S0", "S1", "S8"]


def test_the_command_writes_text_and_json(tmp_path: Path) -> None:
    path = tmp_path / "two.jpg"
    path.write_bytes(TWO)
    contract(FAKE).dump(tmp_path / "contract.yaml")
    override = ["--bundle", "tiny", "--contract", str(tmp_path / "contract.yaml")]
    text = CliRunner().invoke(app, ["trace", str(path), *override])
    assert text.exit_code == 0, text.output
    for stage in range(9):
        assert f"\nS{stage}" in text.stdout
    content = json.loads(CliRunner().invoke(app, ["trace", str(path), "--json", *override]).stdout)
    assert content["stages"][-1]["label"] == "fake"
    assert len(content["bundle_digest"]) == 64


def test_verdict_trace_and_golden_outputs_hold_one_s5(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "two.jpg").write_bytes(TWO)
    item = GoldenItem.model_construct(path=str(tmp_path / "two.jpg"))
    golden = json.loads(compute_output(item, detector, None).text)["faces"]
    record = detector.examine(TWO, "two.jpg")
    traced = [row for row in record.rows() if row["stage"] == "S5"]
    assert len(traced) == len(golden) == 2
    for face, row in enumerate(traced):
        told = golden[face]["S5"]
        assert told == {key: row[key] for key in told}
        assert row["mean"] == record.judged[face].patch_map.astype(np.float64).mean()
    deciding = record.decision.deciding_face
    assert deciding is not None
    assert detector.summarise(record, "").model_dump(mode="json")["patch_map"] == golden[deciding]["S5"]
