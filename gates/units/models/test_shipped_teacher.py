"""The trained teacher that ships: small, of this contract's pixels, and with its record."""

from __future__ import annotations

import json

import torch

from ecdd.bundle import load_bundle
from ecdd.export.artifact_manifest import check_identity
from ecdd.models.checkpoint import load_weights
from gates.support.seeded_networks import TRAINED_TEACHER


def test_it_is_small_half_precision_and_of_this_contract() -> None:
    assert TRAINED_TEACHER.stat().st_size <= 1_500_000
    network, identity = load_weights(TRAINED_TEACHER)
    check_identity(identity, load_bundle("tiny").contract, TRAINED_TEACHER)
    assert (identity.architecture, identity.storage) == ("ladeda9", "float16")
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_its_record_is_of_these_weights_and_the_student_followed_the_same_recipe() -> None:
    network, identity = load_weights(TRAINED_TEACHER)
    record = json.loads(TRAINED_TEACHER.with_name("training_record.json").read_text(encoding="utf-8"))
    assert record["parameters"] == sum(p.numel() for p in network.parameters())
    assert record["architecture"] == {"name": "ladeda9", "width": identity.width}
    student = json.loads((load_bundle("tiny").path / "training_record.json").read_text(encoding="utf-8"))
    for key in ("data_manifest_digest", "data_split_digest", "tensor_digest", "quality_gates"):
        assert record[key] == student[key], key
    assert [f["left_out"] for f in record["leave_one_source_out"]] == [
        f["left_out"] for f in student["leave_one_source_out"]
    ]
