"""S5 to S8 of every golden picture equal the bundle's golden outputs; ``--snapshot-update`` freezes them again.

The float reference is exact where platform and library are those that froze it, and within the contract's tolerances
where they differ. The model that ships is held to the same tolerances.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.detector import Detector
from ecdd.evidence.pytest_plugin import CHANGED, RUN
from ecdd.evidence.stage_snapshots import binary_file, loads, numbers_close, same, text_file
from ecdd.golden import golden_outputs as outputs
from ecdd.golden.golden_sets import load_checked

TOLERATED = ("min", "max", "mean")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "item" in metafunc.fixturenames:
        items = load_checked(metafunc.config.stash[RUN].options.golden).items
        metafunc.parametrize("item", items, ids=[item.id for item in items])


@pytest.fixture(scope="module")
def index(bundle: Any, contract: Any, golden: Any, freezing: bool) -> dict[str, Any]:
    """What the golden outputs belong to; skips what cannot be compared, fails what is stale."""
    if contract.digest != bundle.contract.digest:
        pytest.skip("not tested: golden outputs belong to the bundle's own contract, and --contract is another one")
    if freezing:
        return {}
    found = outputs.read_index(bundle)
    if why := outputs.why_not_comparable(found, outputs.golden_digest_of(Path(golden.root))):
        pytest.skip(f"not tested: {why}")
    assert found is not None
    assert not outputs.stale_parts(found, bundle), "computed with other files: run pytest --snapshot-update"
    return found


@pytest.fixture(scope="module")
def reference(bundle: Any, contract: Any, index: dict[str, Any]) -> Detector:
    return Detector.load(bundle, contract, runtime=outputs.REFERENCE)


def _exact(index: dict[str, Any], reference: Detector) -> bool:
    now = {
        "runtime": outputs.REFERENCE,
        "library": reference.runtime.describe()["library"],
        "platform": outputs.platform_fingerprint(),
    }
    return not index or bool(index["reference"] == now)


def within(policy: Any) -> tuple[Callable[[str, str], bool], Callable[[bytes, bytes], bool]]:
    """Comparisons of text and maps within the contract's tolerances; S5 relative to the spread of its map, or as S6."""

    def texts(new: str, old: str) -> bool:
        one, two = loads(new), loads(old)
        for content in (one, two):
            for face in content["faces"]:
                # of the map itself, which is compared number by number; near-equal maxima may change places
                for key in ("checksum", "argmax", *TOLERATED):
                    face.get("S5", {}).pop(key, None)
        s6, s7 = policy.pooling.tolerance_s6, policy.calibration.tolerance_s7
        return numbers_close(one, two, {"logit": s6, "probability": s7})

    def maps(new: bytes, old: bytes) -> bool:
        one, two = outputs.read_npy(new), outputs.read_npy(old)
        if one.shape != two.shape:
            return False
        if one[0].size == 1:  # the one logit, which has no spread of its own
            return bool((np.abs(one - two) <= policy.pooling.tolerance_s6).all())
        spread = np.ptp(two, axis=(1, 2), keepdims=True)
        return bool((np.abs(one - two) <= policy.patch_grid.tolerance_s5 * spread).all())

    return texts, maps


def test_reference_equals_golden(
    item: Any,
    snapshot: Any,
    index: dict[str, Any],
    reference: Detector,
    frozen: Any,
    freezing: bool,
    request: pytest.FixtureRequest,
) -> None:
    stored = frozen.picture(item.id)
    output = outputs.compute_output(item, reference, None if stored is None else [face.s3 for face in stored.faces])
    folder = outputs.output_folder(reference.bundle, item)
    text_comparison, map_comparison = (same, same) if _exact(index, reference) else within(reference.policy)
    path = folder / f"{item.id}.json"
    if freezing:
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if changed := ["new"] if old is None else changed_outputs(old, output.text):
            request.config.stash[CHANGED].append(f"{item.set}/{item.id}: {', '.join(changed)}")
    assert output.text == snapshot(name=item.id, extension_class=text_file(folder, text_comparison))
    if len(output.maps):
        extension = binary_file(folder, "npy", map_comparison)
        assert outputs.npy(output.maps) == snapshot(name=item.id, extension_class=extension)


def changed_outputs(old: str, new: str) -> list[str]:
    """Names of the stages in which two texts of one picture differ."""
    one, two = loads(old), loads(new)
    found = [] if one["S8"] == two["S8"] else ["S8"]
    if len(one["faces"]) != len(two["faces"]):
        return ["faces", *found]
    stages = ("reason_codes", "S5", "S6", "S7")
    return [s for s in stages if [f.get(s) for f in one["faces"]] != [f.get(s) for f in two["faces"]]] + found


def test_shipped_model_stays_within_tolerance(
    bundle: Any, policy: Any, detector: Detector, golden: Any, frozen: Any, index: dict[str, Any]
) -> None:
    texts, maps = within(policy)
    off = []
    for item in golden.items:
        stored = frozen.picture(item.id)
        output = outputs.compute_output(item, detector, None if stored is None else [face.s3 for face in stored.faces])
        stem = outputs.output_folder(bundle, item) / item.id
        if not texts(output.text, stem.with_suffix(".json").read_text(encoding="utf-8")):
            off.append(f"{item.id} S6 to S8")
        elif len(output.maps) and not maps(outputs.npy(output.maps), stem.with_suffix(".npy").read_bytes()):
            off.append(f"{item.id} S5")
    assert not off, f"{len(off)} of {len(golden.items)} pictures: {', '.join(off)}"


def test_no_output_is_missing_or_unused(
    bundle: Any, golden: Any, index: dict[str, Any], reference: Detector, freezing: bool, request: pytest.FixtureRequest
) -> None:
    root = bundle.path / outputs.OUTPUTS_FOLDER
    wanted = {outputs.INDEX} | {f"{item.set}/{item.id}.json" for item in golden.items}
    for item in golden.items:
        path = root / item.set / f"{item.id}.json"
        faces = loads(path.read_text(encoding="utf-8"))["faces"] if path.is_file() else []
        wanted |= {f"{item.set}/{item.id}.npy"} if any("S5" in face for face in faces) else set()
    if freezing:
        _finish(bundle, root, wanted, golden, reference, request.config.stash[CHANGED])
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == wanted, f"unused: {sorted(found - wanted)}; missing: {sorted(wanted - found)}"


def _finish(bundle: Any, root: Path, wanted: set[str], golden: Any, reference: Detector, changed: list[str]) -> None:
    """Write the index, remove what no picture has any more, and list the bundle's files again: its digest changes."""
    from ecdd.bundle.writing import write_manifest
    from ecdd.files import write_text

    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if name not in wanted:
            path.unlink()
            changed.append(f"{name}: removed, no golden picture has it")
    library = str(reference.runtime.describe()["library"])
    write_text(root / outputs.INDEX, outputs.index_text(bundle, outputs.golden_digest_of(Path(golden.root)), library))
    manifest = write_manifest(bundle.path)
    if manifest.payload_digest != bundle.payload_digest:
        changed.append(f"payload digest: {bundle.payload_digest[:16]} is now {manifest.payload_digest[:16]}")
