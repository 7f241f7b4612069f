"""E1.3 one decode path: no other decoder is reachable from inference or training, by the import graph and at run
time, and the decoder's S1 equals the golden S1.

Two decoders differ by single levels in every JPEG, which is enough to move a detector that reads such traces. Fails
when a second decoder is imported or called, when the library is not the contract's, or when a decoded golden picture
differs from the frozen one.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ecdd
from gates.support.fixtures import Detector, Evidence, FrozenStages, GoldenSet, PolicyContract, Prepared
from gates.support.moved_stages import moved_stages

PACKAGE = Path(ecdd.__file__).parent
ROOTS = ("ecdd.detector", "ecdd.pipeline", "ecdd.training", "ecdd.calibration", "ecdd.export")
DECODER = "ecdd.pipeline.decode"
OTHER_LIBRARIES = frozenset({"imageio", "torchvision", "simplejpeg", "turbojpeg", "pyvips", "wand", "pillow_heif"})
# Calls that decode a file, of Pillow, OpenCV, scikit-image, TensorFlow, torchvision and Matplotlib.
DECODING_CALLS = frozenset(
    {"imread", "imdecode", "imreadmulti", "decode_jpeg", "decode_png", "decode_image", "decode_webp", "read_image",
     "load_img", "load_image_file", "exif_transpose"}
)  # fmt: skip


def _module_path(name: str) -> Path | None:
    plain = PACKAGE.parent.joinpath(*name.split("."))
    for candidate in (plain.with_suffix(".py"), plain / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reachable_modules() -> dict[str, ast.Module]:
    """The project's modules that inference and training import, also lazily, with their syntax trees."""
    files = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}
    names = {name.removesuffix(".__init__"): path for name, path in files.items()}
    todo = [name for name in names if name.startswith(ROOTS)]
    found: dict[str, ast.Module] = {}
    while todo:
        name = todo.pop()
        if name in found or name not in names:
            continue
        found[name] = ast.parse(names[name].read_text(encoding="utf-8"))
        todo += [target for target in _imports(found[name]) if target.startswith("ecdd")]
    return found


def decoding_calls(name: str, tree: ast.Module) -> list[str]:
    """Where a module decodes pictures or imports a library that does."""
    found = [f"{name}: imports {target}" for target in _imports(tree) if target.split(".")[0] in OTHER_LIBRARIES]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if node.func.attr in DECODING_CALLS or (node.func.attr == "open" and owner in ("Image", "PIL")):
            found.append(f"{name}:{node.lineno}: {owner}.{node.func.attr}")
    return found


@pytest.mark.experiment("E1.3")
def test_import_graph_has_one_decoder(evidence: Evidence) -> None:
    modules = reachable_modules()
    calls = {name: decoding_calls(name, tree) for name, tree in modules.items()}
    others = [call for name, found in sorted(calls.items()) if name != DECODER for call in found]
    evidence.check("modules_scanned", len(modules), limit=20, op=">=", unit="module", n=len(modules))
    evidence.none("decoders_elsewhere", others, n=len(modules), unit="call")
    evidence.check("decoding_calls_in_decode", len(calls[DECODER]), limit=1, op="==", unit="call", n=1)
    assert importlib.util.find_spec(DECODER) is not None


@pytest.mark.experiment("E1.3")
def test_run_time_has_one_decoder(
    evidence: Evidence, detector: Detector, golden: GoldenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: list[str] = []
    really_open = Image.open

    def recorded(*args: Any, **options: Any) -> Image.Image:
        callers.append(str(sys._getframe(1).f_globals.get("__name__")))
        return really_open(*args, **options)

    monkeypatch.setattr(Image, "open", recorded)
    items = golden.by_set("in_scope")
    for item in items:
        detector.predict(Path(item.path))
    strangers = sorted(set(callers) - {DECODER})
    evidence.none("other_callers", strangers, n=len(items), unit="module")
    evidence.check("decodes", callers.count(DECODER), limit=len(items), op="==", unit="call", n=len(items))


@pytest.mark.experiment("E1.3")
def test_decoder_is_the_contract_s(
    evidence: Evidence, policy: PolicyContract, prepared: Prepared, frozen: FrozenStages, golden: GoldenSet
) -> None:
    """Another decoder than the one that froze the golden stages is named, with the first stage that it moved."""
    from ecdd.evidence.claims import DECODER_DIFFERENCES
    from ecdd.pipeline.decode import decoder_fingerprint, other_libraries

    found = decoder_fingerprint()
    same = found["pillow"] == policy.pixel_pipeline.decoder_version
    others = other_libraries(found, frozen.fingerprint)
    evidence.measure("decoder", " ".join(f"{key} {value}" for key, value in sorted(found.items())))
    evidence.measure(DECODER_DIFFERENCES, others)
    worst = found["pillow"]
    if others or not same:
        stages = moved_stages(prepared, frozen, golden, policy)
        evidence.measure("first_stage_that_moved", stages)
        worst += f" ({others}); first stage that moved: {stages}"
    evidence.check("decoder_version_differs", int(not same), limit=0, op="==", worst=worst, n=1)


@pytest.mark.experiment("E1.3")
def test_s1_equals_golden(evidence: Evidence, prepared: Prepared, frozen: FrozenStages, golden: GoldenSet) -> None:
    """Exact where the decoder is the frozen one; another decoder is named, and its differing pictures counted."""
    from ecdd.pipeline.decode import s1_digest

    differing, missing, n = [], [], 0
    for item in golden.items:
        stored, now = frozen.picture(item.id), prepared(item)
        if stored is None:
            missing.append(item.id)
            continue
        n += 1
        got = s1_digest(now.decoded.image) if now.decoded is not None else None
        if got != stored.s1_digest or now.sha256 != stored.s0:
            differing.append(item.id)
    evidence.measure("decoder_fingerprint_is_the_frozen_one", frozen.same_decoder)
    evidence.none("golden_missing", missing, n=len(golden.items))
    evidence.none("s1_differs", differing, n=n)
