"""A bundle is used only when every byte of it is the listed one and its parts agree."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecdd.bundle import BundleError, load_bundle, loading, payload_digest, write_manifest
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.manifest import (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    FileList,
)
from gates.support.edited_bundles import make_bundle, sha256

ALL_FILES = (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    "golden_outputs/s6.json",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


def test_a_good_bundle_loads(root: Path) -> None:
    bundle = load_bundle(root)
    assert bundle.payload_digest == payload_digest(root)
    assert sorted([*bundle.manifest.files, MANIFEST_FILE]) == sorted(ALL_FILES)
    assert bundle.read(MODEL_FILE) == (root / MODEL_FILE).read_bytes()
    assert bundle.manifest.preprocessing_digest == bundle.contract.preprocessing_digest
    assert bundle.manifest.model.weights_sha256 == sha256((root / WEIGHTS_FILE).read_bytes())


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(ALL_FILES), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_flipped_byte_is_refused_by_name(shared_root: Path, name: str, place: float, flip: int) -> None:
    path = shared_root / name
    good = path.read_bytes()
    at = int(place * len(good))
    path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
    try:
        with pytest.raises(BundleError) as caught:
            load_bundle(shared_root)
    finally:
        path.write_bytes(good)
    assert name in caught.value.mismatched
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [CONTRACT_FILE, CALIBRATION_FILE, DESCRIPTION_FILE])
def test_what_is_parsed_is_what_was_hashed(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A file that changes between the check of its digest and its use is noticed."""
    really = loading.compare

    def compare_and_exchange(*given: object) -> None:
        really(*given)  # type: ignore[arg-type]
        (root / name).write_bytes((root / name).read_bytes() + b"\n")

    monkeypatch.setattr(loading, "compare", compare_and_exchange)
    with pytest.raises(BundleError, match=f"{name} changed while the bundle was loaded"):
        load_bundle(root)


def test_three_lists(root: Path) -> None:
    (root / "extra.bin").write_bytes(b"x")
    (root / WEIGHTS_FILE).unlink()
    (root / MODEL_FILE).write_bytes(b"another model file of tests")
    with pytest.raises(BundleError) as caught:
        load_bundle(root)
    assert caught.value.extra == ("extra.bin",)
    assert caught.value.missing == (WEIGHTS_FILE,)
    assert caught.value.mismatched == (MODEL_FILE,)


@pytest.mark.parametrize("list_name", ["extra", "missing"])
def test_one_file_too_many_or_too_few_is_enough(root: Path, list_name: str) -> None:
    """With every other file as it is listed."""
    name = "extra.bin" if list_name == "extra" else "golden_outputs/s6.json"
    if list_name == "extra":
        (root / name).write_bytes(b"x")
    else:
        (root / name).unlink()
    with pytest.raises(BundleError) as caught:
        load_bundle(root)
    lists = {"extra": caught.value.extra, "missing": caught.value.missing, "mismatched": caught.value.mismatched}
    assert {key: names for key, names in lists.items() if names} == {list_name: (name,)}


def test_a_missing_bundle_is_only_then_the_installation_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "bundle_path", lambda _: tmp_path)
    for path, said in ((None, "no default bundle; name one with --bundle"), (tmp_path, MANIFEST_FILE)):
        with pytest.raises(BundleError, match=said):
            load_bundle(path)


@pytest.mark.parametrize(("size", "said"), [(2**22, "Invalid JSON"), (2**22 + 1, "at most 4194304")])
def test_a_record_beyond_4_mib_is_not_read(root: Path, size: int, said: str) -> None:
    os.truncate(root / MANIFEST_FILE, size)
    with pytest.raises(BundleError, match=said):
        load_bundle(root)


def test_release_folder_is_outside_the_payload(root: Path) -> None:
    before = load_bundle(root).payload_digest
    (root / "release").mkdir()
    (root / "release" / "report.html").write_text("approved")
    assert load_bundle(root).payload_digest == before


def _symlink(root: Path) -> None:
    shutil.move(root / MODEL_FILE, root.parent / "elsewhere")
    (root / MODEL_FILE).symlink_to(root.parent / "elsewhere")


def _linked_folder(root: Path) -> None:
    shutil.move(root / "golden_outputs", root.parent / "elsewhere")
    (root / "golden_outputs").symlink_to(root.parent / "elsewhere")


def _linked_release(root: Path) -> None:
    (root / "release").symlink_to(root.parent)


def _hidden(root: Path) -> None:
    (root / ".hidden").write_text("x")


def _newline(root: Path) -> None:
    (root / "a\nb").write_text("x")


def _not_utf8(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_text("x")


def _fifo(root: Path) -> None:
    os.mkfifo(root / "pipe")


@pytest.mark.parametrize("spoil", [_symlink, _linked_folder, _linked_release, _hidden, _newline, _not_utf8, _fifo])
def test_what_is_no_plain_file_is_refused(root: Path, spoil: Callable[[Path], None]) -> None:
    spoil(root)
    with pytest.raises(BundleError) as caught:
        load_bundle(root)
    str(caught.value).encode()  # the message can be printed whatever the name was


def test_a_name_has_at_most_200_characters() -> None:
    entry = {"bytes": 1, "sha256": sha256(b"x")}
    for length, taken in ((200, True), (201, False)):
        listed = {"files": {"a" * length: entry}, "payload_digest": sha256(b"y")}
        try:
            FileList.model_validate(listed)
        except ValueError:
            assert not taken
        else:
            assert taken


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b", "a\\b", "C:x", "a//b", "./a", "", "a/"])
def test_names_that_leave_the_bundle_are_refused(root: Path, name: str) -> None:
    content = json.loads((root / MANIFEST_FILE).read_text())
    content["files"][name] = {"bytes": 1, "sha256": sha256(b"x")}
    (root / MANIFEST_FILE).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(root)


def _edit(root: Path, file: str, key: tuple[str, ...], value: object) -> None:
    content = json.loads((root / file).read_text())
    inner = content
    for step in key[:-1]:
        inner = inner[step]
    assert key[-1] in inner
    inner[key[-1]] = value
    (root / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        (CALIBRATION_FILE, ("thresholds", "t_fake"), 0.71),
        (CALIBRATION_FILE, ("thresholds", "t_real"), 0.01),
        (CALIBRATION_FILE, ("fitted_on_model_sha256",), "0" * 64),
        (CALIBRATION_FILE, ("method",), "platt"),
        (CALIBRATION_FILE, ("temperature",), 0.0),
        (CALIBRATION_FILE, ("temperature",), float("nan")),
        (CALIBRATION_FILE, ("bias",), 0.5),
        (CALIBRATION_FILE, ("n_real",), 0),
        (CALIBRATION_FILE, ("n_real",), "60"),
        (CALIBRATION_FILE, ("thresholds", "t_fake"), "0.7"),
        (DESCRIPTION_FILE, ("model", "stride"), 8.0),
        (DESCRIPTION_FILE, ("model", "input_operator"), "left_diag"),
        (DESCRIPTION_FILE, ("model", "operator_scale"), 0.5),
        (DESCRIPTION_FILE, ("model", "grid"), [31, 30]),
        (DESCRIPTION_FILE, ("model", "normalisation_mean"), [0.5, 0.5, 0.5]),
        (DESCRIPTION_FILE, ("model", "mode"), "full_int8"),
        (DESCRIPTION_FILE, ("model", "weights_sha256"), "0" * 64),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    root: Path, file: str, key: tuple[str, ...], value: object
) -> None:
    """The manifest is made anew by hand, as someone would who wants to pass: the digests alone see nothing."""
    _edit(root, file, key, value)
    with pytest.raises(BundleError) as refused:
        write_manifest(root)
    entry = {"bytes": len((root / file).read_bytes()), "sha256": sha256((root / file).read_bytes())}
    _edit(root, MANIFEST_FILE, ("files", file), entry)
    _edit(root, MANIFEST_FILE, ("payload_digest",), payload_digest(root))
    with pytest.raises(BundleError) as caught:
        load_bundle(root)
    assert str(caught.value) == str(refused.value)
    assert not caught.value.extra
    assert not caught.value.missing


@pytest.mark.parametrize(
    "knots",
    [((0.0, 1.0), (1.0, 0.0)), ((1.0, 0.0), (0.0, 1.0)), ((0.0, 0.0), (0.0, 1.0)), ((0.0, 0.0), (1.0, float("inf")))],
)
def test_knots_that_do_not_rise_are_refused(root: Path, knots: tuple[tuple[float, float], ...]) -> None:
    given = json.loads((root / CALIBRATION_FILE).read_text())
    curve = given | {"method": "isotonic", "temperature": 1.0, "bias": 0.0}
    rising = CalibrationRecord.model_validate_json(json.dumps(curve | {"knots": [(0.0, 0.0), (1.0, 0.0), (2.0, 1.0)]}))
    with pytest.raises(ValueError, match="knots"):
        CalibrationRecord(**(dict(rising) | {"knots": knots}))


def test_a_changed_contract_needs_a_new_bundle(root: Path) -> None:
    before = load_bundle(root)
    before.contract.with_values({"quality_gates.blur_threshold": 41.0}).dump(root / CONTRACT_FILE)
    with pytest.raises(BundleError):
        load_bundle(root)
    write_manifest(root)
    assert load_bundle(root).payload_digest != before.payload_digest


def test_write_manifest_keeps_the_description(root: Path) -> None:
    before = load_bundle(root)
    (root / "golden_outputs" / "s7.json").write_text("{}\n")
    after = write_manifest(root)
    assert after.model == before.manifest.model
    assert after.payload_digest != before.payload_digest
    (root / "golden_outputs" / "s7.json").unlink()
    assert write_manifest(root).payload_digest == before.payload_digest


def test_a_file_changed_after_loading_is_not_used(root: Path) -> None:
    bundle = load_bundle(root)
    (root / MODEL_FILE).write_bytes(b"swapped")
    with pytest.raises(BundleError, match="changed while"):
        bundle.read(MODEL_FILE)


@pytest.mark.parametrize("kind", ["nothing", "file", "empty", "no_model"])
def test_what_is_no_bundle(root: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other"
    if kind == "file":
        path.write_text("x")
    elif kind == "empty":
        path.mkdir()
    elif kind == "no_model":
        shutil.copytree(root, path)
        (path / MODEL_FILE).unlink()
        with pytest.raises(BundleError, match=MODEL_FILE):
            write_manifest(path)
    with pytest.raises(BundleError):
        load_bundle(path)
