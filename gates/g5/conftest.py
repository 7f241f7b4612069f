"""Golden S4 tensors, what the float reference makes of them, and the modes that a bundle carries."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.variants import modes
from ecdd.evidence.pytest_plugin import RUN
from ecdd.runtimes.registry import load_runtime
from gates.support.fixtures import Bundle, FrozenStages, GoldenSet, NotTested, PolicyContract
from gates.support.mode_parity import SameTensors, frozen_tensors

MODES = ("float32", "dynamic_range", "full_int8")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every mode that a bundle is meant to carry, and every other one that this bundle carries too."""
    chosen = any(mark.args[0] == "mode" for mark in metafunc.definition.iter_markers("parametrize"))
    if "mode" in metafunc.fixturenames and not chosen:
        carried = _carried(metafunc.config.stash[RUN].options.bundle)
        metafunc.parametrize("mode", list(dict.fromkeys((*MODES, *carried))), indirect=True)


@cache
def _carried(path: Path | None) -> tuple[str, ...]:
    try:
        return modes(load_bundle(path))
    except BundleError:  # said by the fixture, test by test
        return ()


@pytest.fixture
def mode(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    """One of the bundle's modes; a mode that it does not carry is not tested."""
    asked: str = request.param
    if asked not in modes(bundle):
        raise NotTested(f"mode {asked}", f"this bundle carries {', '.join(modes(bundle))}")
    return asked


@pytest.fixture(scope="session")
def same_tensors(golden: GoldenSet, frozen: FrozenStages, policy: PolicyContract, bundle: Bundle) -> SameTensors:
    """Both sides of a comparison read these very tensors."""
    found = frozen_tensors(golden.items, frozen, policy)
    return SameTensors(found.samples, found.batch, load_runtime(bundle, "onnx", 1).outputs(found.batch))
