"""Fixtures of the gates: the bundle, the golden set, and golden pictures prepared once a process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ecdd.bundle.loading import load_bundle
from ecdd.contract.loading import load_contract
from ecdd.evidence.pytest_plugin import RUN
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import prepare
from gates.support.fixtures import (
    Bundle,
    Detector,
    FrozenStages,
    GoldenItem,
    GoldenNow,
    GoldenSet,
    LoadedContract,
    PolicyContract,
    Prepared,
)

# libraries of the extras that the gates do not need; a unit test that imports one cannot run without it
_OPTIONAL = {
    "torch": "train",
    "safetensors": "train",
    "sklearn": "train",
    "imagehash": "train",
    "onnx": "export",
    "schemathesis": "dev",
    "requests": "dev",
}
_EXPERIMENT = re.compile(r"test_e\d")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Skip, and say why, files of unit tests whose library is not installed; an experiment's file stays an error."""
    report = yield
    if report.failed and not _EXPERIMENT.match(Path(str(collector.path)).name):
        error: BaseException | None = report.call.excinfo.value
        while error is not None and not isinstance(error, ModuleNotFoundError):
            error = error.__cause__
        if error is not None and (extra := _OPTIONAL.get((error.name or "").split(".")[0])):
            reason = f"Skipped: not tested here: {error.name} is not installed; pip install 'ecdd[{extra}]'"
            report.outcome, report.longrepr = "skipped", (str(collector.path), 1, reason)
    return report


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.config.stash[RUN].options.bundle)


@pytest.fixture(scope="session")
def contract(request: pytest.FixtureRequest, bundle: Bundle) -> LoadedContract:
    override = request.config.stash[RUN].options.contract
    return bundle.contract if override is None else load_contract(override)


@pytest.fixture(scope="session")
def policy(contract: LoadedContract) -> PolicyContract:
    return contract.policy


@pytest.fixture(scope="session")
def detector(bundle: Bundle, contract: LoadedContract) -> Detector:
    return Detector.load(bundle, contract)


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    from gates.support.golden_pictures import load_checked

    return load_checked(request.config.stash[RUN].options.golden)


@pytest.fixture(scope="session")
def frozen(request: pytest.FixtureRequest) -> FrozenStages:
    from ecdd.golden.golden_hashes import load_frozen

    return load_frozen(request.config.stash[RUN].options.golden)


@pytest.fixture(scope="session")
def data_root(request: pytest.FixtureRequest) -> Path | None:
    """Labelled pictures of ``--data``; None without the option."""
    return request.config.stash[RUN].options.data  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def prepared(policy: PolicyContract, detector: Detector) -> Prepared:
    """Golden pictures through S0 to S4, each at most once a process."""
    cache: dict[str, GoldenNow] = {}

    def prepare_once(item: GoldenItem) -> GoldenNow:
        if item.id not in cache:
            cache[item.id] = _prepare(Path(item.path), policy, detector)
        return cache[item.id]

    return prepare_once


def _prepare(path: Path, policy: PolicyContract, detector: Detector) -> GoldenNow:
    import hashlib

    data = read_file(path, policy.pixel_pipeline)
    digest = hashlib.sha256(data).hexdigest()
    try:
        now = prepare(data, policy, detector.face_backend, name=path.name)
    except Rejected as rejected:
        return GoldenNow(digest, None, (), (), tuple(str(code) for code in rejected.codes))
    return GoldenNow(digest, now.decoded, now.faces, tuple(str(code) for code in now.reason_codes), ())
