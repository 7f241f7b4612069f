"""The shortcut audit finds what was planted in the files, and nothing where both classes were saved alike."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.ensemble
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.lineage_tags import LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.training.shortcut_audit import audit_lines, shortcut_audit

CONTRACT = load_contract()


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forest of a tenth, which finds what tells the classes apart entirely; files saved alike meet the whole one."""
    forest = sklearn.ensemble.RandomForestClassifier
    monkeypatch.setattr(sklearn.ensemble, "RandomForestClassifier", lambda trees, **more: forest(trees // 10, **more))


def files(folder: Path, save: dict[int, dict[str, Any]], pictures: int = 40) -> list[tuple[ManifestRow, SplitRow]]:
    """Seeded pictures, every second one a fake, saved as ``save`` says for the class; their caches hold a face."""
    rows = []
    for k in range(pictures):
        label = k % 2
        noise = np.random.default_rng(k).integers(60, 200, (12, 12, 3), dtype=np.uint8)
        options = dict(save[label])
        side, suffix = options.pop("side", 160), options.pop("suffix", "jpg")
        path = folder / f"{k}.{suffix}"
        Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(path, **options)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        quality = {"face_side": 100.0 + k // 2, "blur": 50.0 + k // 2}
        content = {"variants": [{"kind": "original", "quality": quality}], "dropped": []}
        (folder / f"{sha256}.json").write_text(json.dumps(content))
        rows.append(
            (
                ManifestRow(path, path.name, label, "face", "s", None, sha256),
                SplitRow(sha256, LineageTag.TRAIN, sha256, "unknown", str(label), "face", "s"),
            )
        )
    return rows


@pytest.mark.parametrize(
    ("fake", "number"),
    [
        ({"side": 220}, "log_pixels"),
        ({"quality": 70}, "jpeg_quality"),
        ({"exif": b"Exif\0\0" + b"x" * 800}, "log_metadata_bytes"),
    ],
)
def test_a_planted_difference_is_found(fake: dict[str, Any], number: str, tmp_path: Path, few_trees: None) -> None:
    same = {"quality": 90}
    audit = shortcut_audit(files(tmp_path, {0: same, 1: same | fake}), CONTRACT, tmp_path, seed=1)
    assert abs(audit["numbers"][number]["auc"] - 0.5) == pytest.approx(0.5)
    assert audit["baseline"]["auc"] > 0.95
    apart = [abs(about["auc"] - 0.5) for about in audit["numbers"].values()]
    shown = [abs(float(line.split("alone ")[1][:5]) - 0.5) for line in audit_lines(audit)[1 : 1 + len(apart)]]
    assert shown == pytest.approx(sorted(apart, reverse=True), abs=1e-3)  # what separates most comes first


def test_files_saved_alike_leave_nothing_to_find(tmp_path: Path) -> None:
    audit = shortcut_audit(files(tmp_path, {0: {"quality": 90}, 1: {"quality": 90}}), CONTRACT, tmp_path, seed=1)
    low, high = audit["baseline"]["interval"]
    assert low < 0.5 < high
    assert audit["words"]["format"] == {"JPEG": {"real": 20, "fake": 20}}
    assert audit["numbers"]["face_side"]["auc"] == pytest.approx(0.5)


def test_formats_are_counted_by_class_and_facts_are_kept(tmp_path: Path, few_trees: None) -> None:
    rows = files(tmp_path, {0: {"quality": 90}, 1: {"suffix": "png"}})
    audit = shortcut_audit(rows, CONTRACT, tmp_path, seed=1)
    assert audit["words"]["format"] == {"JPEG": {"real": 20, "fake": 0}, "PNG": {"real": 0, "fake": 20}}
    assert audit["baseline"]["auc"] == pytest.approx(1.0)
    for row, _ in rows:
        row.path.unlink()  # the facts are in the cache: nothing is read twice
    assert shortcut_audit(rows, CONTRACT, tmp_path, seed=1) == audit


def test_too_few_groups_give_no_baseline_and_unreadable_files_are_counted(tmp_path: Path) -> None:
    rows = files(tmp_path, {0: {"quality": 90}, 1: {"quality": 90}}, pictures=6)
    rows[0][0].path.write_bytes(b"no picture")
    audit = shortcut_audit(rows, CONTRACT, tmp_path, seed=1)
    assert audit["baseline"] is None
    assert audit["unreadable"] == 1
    assert "too few groups" in audit_lines(audit)[-1]
