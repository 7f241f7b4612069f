"""The device kit: dumps in both forms, what the judge says of right ones and of each planted mistake, and the pack."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ecdd import cli
from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.contract.loading import load_contract
from ecdd.detector import Detector
from ecdd.golden.golden_sets import GoldenSet, load_checked
from ecdd.inference.pooling import RULES
from ecdd.parity.device_dump import Dump, DumpError, Platform, array_name, read_dump, write_flat, write_npz
from ecdd.parity.device_judging import Compared, _s5, map_of
from ecdd.parity.device_kit import pack_kit
from ecdd.parity.device_reference import Reference, load_reference, make_dump
from ecdd.parity.device_report import _end_to_end, judge_dump
from ecdd.parity.likely_causes import _maps, _poolings, _rescaled, _resizes, _turned
from ecdd.pipeline.preprocess import normalise
from ecdd.specification import ROOT
from gates.support.dumped_defects import DEFECTS, PICTURES, PLAIN, dump_of


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return load_checked()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture(scope="module")
def reference(bundle: Bundle, golden: GoldenSet) -> Reference:
    return load_reference(bundle, golden, PICTURES)


@pytest.fixture(scope="module")
def right(bundle: Bundle, golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Dump:
    items = [golden.item(name) for name in PICTURES]
    return read_dump(dump_of("", bundle, items, tmp_path_factory.mktemp("right") / "right"))


def test_a_right_dump_passes(right: Dump, reference: Reference) -> None:
    assert reference.frozen, "what is frozen is taken, not computed again"
    report = judge_dump(right, reference)
    assert report.passes, report.as_json()
    assert report.cause is None
    assert not report.other_decisions


@pytest.mark.parametrize("name", DEFECTS)
def test_a_mistake_is_named(name: str, bundle: Bundle, golden: GoldenSet, reference: Reference, tmp_path: Path) -> None:
    # what a file makes of a tensor does not depend on the tag or the transparency of its picture
    pictures = PICTURES if DEFECTS[name].stage < "S5" else PLAIN
    items = [golden.item(one) for one in pictures]
    report = judge_dump(read_dump(dump_of(name, bundle, items, tmp_path / "dump")), reference)
    assert report.first is not None
    assert report.cause is not None
    wanted = DEFECTS[name]
    assert (report.first.stage, report.cause.kind) == (wanted.stage, wanted.kind), report.cause


def test_the_documented_mistakes_are_the_planted_ones() -> None:
    text = (ROOT / "docs" / "device_kit.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (S\d) \|[^|]*\| ([a-z ]+):", text, re.MULTILINE)
    assert rows == [(name, one.stage, one.kind) for name, one in DEFECTS.items()]


def test_both_forms_hold_the_same(right: Dump, tmp_path: Path) -> None:
    write_npz(tmp_path / "dump.npz", right)
    write_flat(tmp_path / "flat", right)
    for path in (tmp_path / "dump.npz", tmp_path / "flat"):
        again = read_dump(path)
        assert again.head == right.head
        assert again.arrays.keys() == right.arrays.keys()
        assert all(np.array_equal(again.arrays[name], values) for name, values in right.arrays.items())


class _Touch:
    """Unpickled, it runs code."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


def test_a_dump_runs_no_code(right: Dump, tmp_path: Path) -> None:
    write_npz(tmp_path / "dump.npz", right)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([_Touch(str(tmp_path / "ran"))], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "dump.npz", "a") as packed:
        packed.writestr(f"{PICTURES[0]}/face0/S4.npy", buffer.getvalue())
    with pytest.raises(DumpError):
        read_dump(tmp_path / "dump.npz")
    assert not (tmp_path / "ran").exists()


def test_a_dump_keeps_the_pixels_of_s1_only_where_they_are_asked_for(bundle: Bundle, golden: GoldenSet) -> None:
    item, detector, here = (
        golden.item(PICTURES[0]),
        Detector(bundle, bundle.contract),
        Platform(name="a", kind="device"),
    )
    for asked in ({}, {"pixels": True}):
        (_, dump), *_ = make_dump(detector, [item], here, **asked)
        assert any(name.endswith("/S1") for name in dump.arrays) == bool(asked)
        assert any(name.endswith("/S3") for name in dump.arrays)


def test_a_picture_that_is_rejected_is_dumped_by_its_bytes(bundle: Bundle, tmp_path: Path) -> None:
    """Nothing was decoded, so there is no S1 and no face; the verdict and whose it is stand all the same."""
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    digest = hashlib.sha256((tmp_path / "cut.jpg").read_bytes()).hexdigest()
    item = load_checked().items[0]
    cut = item.model_copy(update={"id": "cut", "path": str(tmp_path / "cut.jpg"), "sha256": digest})
    (_, dump), *_ = make_dump(
        Detector(bundle, bundle.contract), [cut], Platform(name="here", kind="device"), pixels=True
    )
    (picture,) = dump.head.pictures.values()
    assert (picture.s0, picture.s1, picture.faces, dump.arrays) == (digest, None, [], {})
    assert "IO-001" in picture.s8.reason_codes


def test_end_to_end_looks_behind_a_picture_of_other_faces(right: Dump, reference: Reference) -> None:
    """The first picture lost its face; the second one's logit is off by 3 and its probability by 0.01."""
    pictures = {name: one.model_copy() for name, one in right.head.pictures.items()}
    first, second = [name for name, one in pictures.items() if one.faces and one.faces[0].pooled_logit is not None][:2]
    face = reference.dump.head.pictures[second].faces[0]
    assert face.pooled_logit is not None
    assert face.probability is not None
    off = face.model_copy(update={"pooled_logit": face.pooled_logit + 3, "probability": abs(face.probability - 0.01)})
    pictures[first] = pictures[first].model_copy(update={"faces": []})
    pictures[second] = pictures[second].model_copy(update={"faces": [off]})
    name = array_name(second, "S3", 0)
    levels = reference.dump.arrays[name].copy()
    levels[0, 0, 0] = levels[0, 0, 0] - 7 if levels[0, 0, 0] >= 7 else levels[0, 0, 0] + 7
    arrays = {**right.arrays, name: levels}
    found = _end_to_end(Dump(right.head.model_copy(update={"pictures": pictures}), arrays), reference)
    assert found["S3"] == 7
    assert found["S6"] == pytest.approx(3)
    assert found["S7"] == pytest.approx(0.01)


def test_a_wrong_normalisation_is_called_by_what_it_does() -> None:
    """Level 200 in the middle channel of a contract with other means and deviations than any usual one."""
    pixels = load_contract().policy.pixel_pipeline.model_copy(
        update={"normalisation_mean": [0.4, 0.5, 0.6], "normalisation_std": [0.2, 0.25, 0.5]}
    )
    levels = np.array([[[255, 200, 100]]], np.uint8)
    unit = 200 / 255
    wanted = {
        "0 … 1, without mean and deviation": unit,
        "-1 … 1": 2 * unit - 1,
        "0 … 255 as they are": 200.0,
        "scaled to 0 … 1 twice": (unit / 255 - 0.5) / 0.25,
        "scaled to 0 … 1 twice, in integers": (0 - 0.5) / 0.25,
        "mean taken away, not divided by the deviation": unit - 0.5,
        "divided by the deviation, mean not taken away": unit / 0.25,
        "levels not scaled before mean and deviation": (200 - 0.5) / 0.25,
        "mean and deviation of the other channel order": (unit - 0.5) / 0.25,
    }
    found = {what: float(np.asarray(value)[0, 0, 1]) for _, what, value in _rescaled(levels, pixels)}
    assert found == pytest.approx(wanted)
    ends = {what: np.asarray(value)[0, 0].tolist() for _, what, value in _rescaled(levels, pixels)}
    exchanged = ends["mean and deviation of the other channel order"]
    assert exchanged == pytest.approx([(1 - 0.6) / 0.5, wanted["mean and deviation of the other channel order"],
                                       (100 / 255 - 0.4) / 0.2])  # fmt: skip
    assert ends["scaled to 0 … 1 twice, in integers"][0] == pytest.approx((1 / 255 - 0.4) / 0.2)


def test_maps_differ_by_their_own_spread() -> None:
    one, two = np.array([[1.0]], np.float32), np.array([[1.5]], np.float32)
    assert _s5(two, one, mean=False) == 0.5  # one cell has no spread: the difference itself
    want, got = np.array([[0, 4], [2, 2]], np.float32), np.array([[0, 4], [2, 3]], np.float32)
    assert (_s5(got, want, mean=False), _s5(got, want, mean=True)) == (0.25, 0.0625)
    assert _s5(got[:1], want, mean=False) == np.inf
    assert _s5(got * np.nan, want, mean=True) == np.inf


def test_a_stage_is_held_to_the_dump_s_own_stage_before(right: Dump, reference: Reference) -> None:
    """A mirrored S3, with the tensor and the map that follow from it: of these three S3 alone moves."""
    faces = {name: one.faces for name, one in right.head.pictures.items()}
    name = next(name for name in faces if faces[name] and faces[name][0].pooled_logit is not None)
    s3, s4, s5 = (array_name(name, stage, 0) for stage in ("S3", "S4", "S5"))
    levels = np.ascontiguousarray(right.arrays[s3][:, ::-1])
    tensor = normalise(levels, reference.policy.pixel_pipeline)
    grid = map_of(reference, tensor)
    assert grid is not None
    report = judge_dump(Dump(right.head, {**right.arrays, s3: levels, s4: tensor, s5: grid}), reference)
    moved = {one.stage: one.moved for one in report.stages}
    assert (moved["S3"], moved["S4"], moved["S5"]) == ((f"{name} face 0",), (), ())


def test_what_a_dump_lacks_is_no_pass(right: Dump, reference: Reference) -> None:
    fewer = right.head.model_copy(
        update={"pictures": {k: v for k, v in right.head.pictures.items() if k != PICTURES[0]}}
    )
    kept = {name: values for name, values in right.arrays.items() if not name.startswith(PICTURES[0])}
    report = judge_dump(Dump(fewer, kept), reference)
    assert report.missing == (PICTURES[0],)
    assert not report.passes
    without = judge_dump(Dump(right.head, {n: v for n, v in right.arrays.items() if not n.endswith("S5")}), reference)
    assert "S5" in without.not_dumped
    assert not without.passes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dump_version": 2}, "dump_version is 2"),
        ({"bundle_digest": "x"}, "bundle_digest"),
        ({"pictures": {}}, "pictures"),
        ({"more": 1}, "more"),
    ],
)
def test_a_wrong_dump_names_the_key(right: Dump, tmp_path: Path, change: dict[str, object], told: str) -> None:
    write_flat(tmp_path, right)
    head = json.loads((tmp_path / "dump.json").read_text())
    (tmp_path / "dump.json").write_text(json.dumps(head | change))
    with pytest.raises(DumpError, match=told):
        read_dump(tmp_path)


def test_arrays_of_another_kind_or_place_are_refused(right: Dump, tmp_path: Path) -> None:
    name = f"{PICTURES[0]}/face0/S3"
    for wrong in ({name: right.arrays[name].astype(np.float32)}, {"nobody/face0/S3": right.arrays[name]}):
        write_npz(tmp_path / "dump.npz", Dump(right.head, {**right.arrays, **wrong}))
        with pytest.raises(DumpError, match="array"):
            read_dump(tmp_path / "dump.npz")
    write_flat(tmp_path / "flat", right)
    (tmp_path / "flat" / "dump.bin").write_bytes(b"short")
    with pytest.raises(DumpError, match="5 bytes"):
        read_dump(tmp_path / "flat")


def test_a_dump_of_another_bundle_is_refused(right: Dump, reference: Reference) -> None:
    other = replace(right, head=right.head.model_copy(update={"bundle_digest": "0" * 64}))
    with pytest.raises(DumpError, match="bundle_digest"):
        judge_dump(other, reference)


def test_the_kit_holds_what_is_needed(reference: Reference, tmp_path: Path) -> None:
    files = pack_kit(reference, tmp_path / "kit")
    assert {
        "model.tflite",
        "contract.json",
        "pictures.json",
        "reference/dump.json",
        "reference/dump.bin",
    } <= files.keys()
    listed = json.loads((tmp_path / "kit" / "pictures.json").read_text())
    assert listed.keys() == set(PICTURES)
    assert all((tmp_path / "kit" / one["file"]).is_file() for one in listed.values())
    documented = re.search(r"^## Kit, version (\d+)$", (ROOT / "docs" / "device_kit.md").read_text(), re.MULTILINE)
    assert documented is not None
    assert json.loads((tmp_path / "kit" / "kit.json").read_text()) == {
        "kit_version": int(documented[1]), "bundle_digest": reference.bundle.payload_digest, "files": files,
    }  # fmt: skip
    report = judge_dump(read_dump(tmp_path / "kit" / "reference"), reference)
    assert report.first is None
    with pytest.raises(Exception, match="not an empty folder"):
        pack_kit(reference, tmp_path / "kit")


def test_judging_ends_with_the_rule_s_exit_codes(right: Dump, tmp_path: Path) -> None:
    write_npz(tmp_path / "dump.npz", right)
    part = CliRunner().invoke(cli.app, ["device", "judge", str(tmp_path / "dump.npz")])
    assert part.exit_code == 1, part.output  # six pictures are not the golden set
    assert "missing" in part.output
    none = CliRunner().invoke(cli.app, ["device", "judge", str(tmp_path / "none.npz")])
    assert none.exit_code == 2


def test_a_map_can_be_laid_out_in_seven_other_ways() -> None:
    values = np.arange(6).reshape(2, 3, 1)
    ways = dict(_turned(values))
    assert len(ways) == len({view.tobytes() + bytes(view.shape) for view in ways.values()}) == 7
    assert not any(np.array_equal(view, values) for view in ways.values())
    assert np.array_equal(ways["upside down"][:, :, 0], [[3, 4, 5], [0, 1, 2]])


def test_every_layout_and_every_pooling_rule_is_tried(right: Dump, reference: Reference) -> None:
    name = next(name for name, one in right.head.pictures.items() if one.faces and right.of(name, "S5", 0) is not None)
    tried = {}
    for stage, attempts in (("S3", _resizes), ("S5", _maps), ("S6", _poolings)):
        values = right.of(name, stage, 0)
        tried[stage] = {
            what for _, what, _ in attempts(Compared(stage, name, 0, 1.0, values, values), right, reference)
        }
    ways = {way for way, _ in _turned(np.zeros((2, 2)))}
    assert {f"rows and columns {way}" for way in ways} <= tried["S3"]
    assert {f"cells {way}" for way in ways} <= tried["S5"]
    own = reference.policy.pooling.rule
    assert {f"{rule} in place of {own}" for rule in RULES if rule != own} <= tried["S6"]
