"""E5.6 another machine: the stages of ARM64 (emulated: functional, no times) and of dumps from any device are held to
the frozen ones with the contract's tolerances; the first stage that moves is named with its likely cause; each platform
stands under its own name.

What was measured on x86-64 says nothing of the kernels that a phone runs. Fails when a stage of a dump moves beyond its
tolerance, when a picture is decided otherwise, or when a known mistake in a dump is not named. Dumps come from
``--dumps``, by default from where ``make edge`` puts them; without any the clause is not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ecdd.bundle.variants import modes, ship
from ecdd.evidence.pytest_plugin import RUN
from ecdd.parity.device_dump import Dump, read_dump
from ecdd.parity.device_judging import STAGES
from ecdd.parity.device_reference import Reference, load_reference
from ecdd.parity.device_report import DeviceReport, judge_dump
from gates.support.fixtures import Bundle, Evidence, GoldenSet, NotTested
from gates.support.package_code import code_digest

HERE = "run make edge, or name dumps of devices with --dumps"
FUNCTIONAL = "emulated, functional; no times"


@dataclass(frozen=True, eq=False)
class Judged:
    """One dump, the mode of the bundle that it is of, and what was found."""

    dump: Dump
    mode: str
    reference: Reference
    report: DeviceReport


@pytest.fixture(scope="module")
def judged(
    request: pytest.FixtureRequest, bundle: Bundle, golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory
) -> list[Judged]:
    """Every dump of this bundle in one of its modes."""
    folder = request.config.stash[RUN].options.dumps
    paths = sorted(folder.glob("*.npz")) if folder is not None and folder.is_dir() else []
    dumps = [read_dump(path) for path in paths]
    bundles: dict[str, tuple[str, Bundle]] = {bundle.payload_digest: (bundle.manifest.model.mode, bundle)}
    if {one.head.bundle_digest for one in dumps} - bundles.keys():
        for mode in modes(bundle)[1:]:
            shipped = ship(bundle, mode, tmp_path_factory.mktemp("modes") / mode)
            bundles[shipped.payload_digest] = (mode, shipped)
    references: dict[str, Reference] = {}
    found = []
    for dump in dumps:
        digest = dump.head.bundle_digest
        if digest not in bundles or dump.head.platform.kind == "browser":
            continue
        mode, mine = bundles[digest]
        if digest not in references:
            wanted = {name for one in dumps if one.head.bundle_digest == digest for name in one.head.pictures}
            references[digest] = load_reference(mine, golden, sorted(wanted))
        found.append(Judged(dump, mode, references[digest], judge_dump(dump, references[digest])))
    if not found:
        said = f"{len(paths)} dumps, none of this bundle" if paths else "no dumps"
        raise NotTested("stages on another machine", f"{said}; {HERE}")
    return found


@pytest.mark.experiment("E5.6")
def test_every_stage_keeps_its_tolerance(
    evidence: Evidence, judged: list[Judged], bundle: Bundle, golden: GoldenSet
) -> None:
    """S0 to S8 by platform, worst picture named; what ships or may ship is held to its limits, the rest is shown."""
    frozen = load_reference(bundle, golden).dump.head.pictures
    kinds = {name: (one.s8.label, *one.s8.reason_codes) for name, one in frozen.items()}
    rows, whole = [], []
    for one in judged:
        policy, name = one.reference.policy, one.report.platform.name
        held = one.mode in {policy.quantization.mode, *policy.quantization.releasable}
        for stage in one.report.stages:
            limit = (
                policy.quantization.max_decision_flips if stage.stage == "S8" and _rounds(one) else stage.limit.value
            )
            value = len(stage.moved) / max(stage.n, 1) if stage.stage == "S8" else stage.worst
            if held:
                evidence.check(f"{name} {stage.stage}", value, limit=limit, unit=stage.limit.unit,
                               worst=stage.worst_name or None, n=stage.n, clause=stage.limit.clause)  # fmt: skip
            else:
                evidence.measure(f"{name} {stage.stage}", value, stage.limit.unit)
        whole += [name] if one.dump.head.pictures.keys() == {item.id for item in golden.items} else []
        rows.append(_row(one, kinds))
        evidence.measure(f"{name} pictures", len(one.dump.head.pictures), "picture")
        for text in one.report.other_decisions:
            evidence.measure(f"{name} decided otherwise", text)
    evidence.check("platforms_with_the_whole_golden_set", len(whole), limit=1, op=">=", n=len(judged), unit="platform")
    evidence.table("dumps of other machines", rows)
    if all(one.report.platform.kind == "emulated" for one in judged):
        why = "every dump is of an emulated machine; ecdd device pack makes the kit for a real one"
        evidence.not_tested("a real phone or board, its delegates and its times", why)


def _rounds(one: Judged) -> bool:
    """Whether the mode computes in integers, whose rounding differs between kernels."""
    return one.mode not in ("float32", "float16")


def _row(one: Judged, kinds: Mapping[str, tuple[str, ...]]) -> Mapping[str, object]:
    report, pictures = one.report, one.dump.head.pictures
    about = report.platform.about
    return {
        "platform": report.platform.name,
        "kind": FUNCTIONAL if report.platform.kind == "emulated" else report.platform.kind,
        "code": _code(about.get("code")),
        "mode": one.mode,
        "delegate": about.get("delegate", "unknown"),
        "pictures": f"{len(pictures)} of {len(kinds)}",
        "kinds_of_verdict": f"{len({kinds[name] for name in pictures})} of {len(set(kinds.values()))}",
        "compared_with": "frozen stages"
        if report.frozen
        else "stages computed on this machine, for this mode has no frozen ones",
        "first_stage_that_moves": "none" if report.first is None else report.first.stage,
        "likely_cause": "none" if report.cause is None else f"{report.cause.kind}: {report.cause.what}",
        "s6_to_frozen": report.end_to_end["S6"],
        "s7_to_frozen": report.end_to_end["S7"],
        "decided_otherwise": len(report.other_decisions),
    }


def _code(digest: str | None) -> str:
    """Whether the package that made a dump is the one that judges it."""
    if digest is None:
        return "of its own"
    return "this" if digest == code_digest() else f"another version of ecdd ({digest}); make edge dumps again"


Change = Callable[[np.ndarray], np.ndarray]
# array of a stage -> what is done to it -> stage and kind that must be named
MISTAKES: dict[str, tuple[str, Change, str]] = {
    "channels exchanged": ("S3", lambda values: values[..., ::-1], "order"),
    "turned by half": ("S3", lambda values: values[::-1, ::-1], "orientation"),
    "half precision": ("S4", lambda values: values.astype(np.float16).astype(np.float32), "rounding"),
    "relaid by reshape": ("S4", lambda values: values.transpose(2, 0, 1).reshape(values.shape), "layout"),
    "rows for columns": ("S5", lambda values: values.T, "layout"),
    "real for fake": ("S5", lambda values: -values, "sign"),
}


@pytest.mark.experiment("E5.6")
def test_a_mistake_in_a_dump_is_named(evidence: Evidence, judged: list[Judged]) -> None:
    """The judge itself: the first dump with one array laid otherwise, at each stage that has one."""
    first = judged[0]
    wrong = []
    for name, (stage, change, kind) in MISTAKES.items():
        arrays = {
            key: np.ascontiguousarray(change(values)) if key.endswith(f"/{stage}") else values
            for key, values in first.dump.arrays.items()
        }
        report = judge_dump(replace(first.dump, arrays=arrays), first.reference)
        found = "none" if report.first is None or report.cause is None else f"{report.first.stage} {report.cause.kind}"
        wrong += [] if found == f"{stage} {kind}" else [f"{name}: {found}, expected {stage} {kind}"]
    assert set(STAGES) >= {stage for stage, _, _ in MISTAKES.values()}
    evidence.none("mistakes_named_otherwise", wrong, n=len(MISTAKES), unit="mistake")
