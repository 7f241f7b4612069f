"""E2.2 no-face abstain: 100 % of the out-of-scope set abstains with the right reason code, and the model is never
invoked (counted).

A verdict on a dog or a drawing is noise with a probability attached. Fails when one such picture gets a label or
another code than its own, or when the model was called for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gates.support.binomial_limits import upper_bound
from gates.support.fixtures import Detector, Evidence, GoldenSet, NotTested, PolicyContract
from gates.support.portraits import data_portraits, with_limits_of


@pytest.mark.experiment("E2.2")
def test_out_of_scope_abstains(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    items = golden.by_set("out_of_scope")
    calls = detector.model_calls
    leaks, wrong, rows = [], [], []
    for item in items:
        verdict = detector.predict(Path(item.path))
        rows.append({"picture": item.id, "label": verdict.label, "codes": " ".join(verdict.reason_codes)})
        if verdict.label != "abstain":
            leaks.append(item.id)
        if list(verdict.reason_codes) != list(item.expected.reason_codes):
            wrong.append(
                f"{item.id} got {' '.join(verdict.reason_codes)}, expected {' '.join(item.expected.reason_codes)}"
            )
    evidence.table("out_of_scope", rows)
    evidence.none("not_abstaining", leaks, n=len(items))
    evidence.none("wrong_reason_codes", wrong, n=len(items))
    evidence.check("model_calls", detector.model_calls - calls, limit=0, op="==", unit="call", n=len(items))
    evidence.check("pictures", len(items), limit=20, op=">=", unit="picture", n=len(items))


@pytest.mark.experiment("E2.2")
def test_hard_negatives_fire_at_a_low_threshold(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    """The set would prove nothing if no picture in it came near to being a face."""
    from ecdd.pipeline.decode import decode, read_file
    from ecdd.pipeline.face_detectors import load_detector

    low = load_detector(policy.face_detector.model_copy(update={"candidate_threshold": 0.1}))
    fired = []
    for item in golden.by_set("out_of_scope"):
        image = decode(read_file(Path(item.path), policy.pixel_pipeline), policy.pixel_pipeline).image
        fired += [item.id] if low.detect(image) else []
    n = len(golden.by_set("out_of_scope"))
    evidence.check("hard_negatives", len(fired), limit=5, op=">=", unit="picture", worst=fired[:1], n=n)


@pytest.mark.experiment("E2.2")
def test_reason_codes_of_every_golden_picture(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    """Guardrails alone: a face that fails one keeps its code also where another face of the picture is called fake.

    The set's codes are those of its own contract's limits of size, sharpness and compression, which a team may set
    otherwise for its model; what another limit does is E2.6's to E2.8's.
    """
    wrong, judge = [], with_limits_of(golden, detector)
    for item in golden.items:
        verdict = judge.predict(Path(item.path))
        of_faces = {code for face in verdict.faces for code in face.reason_codes}
        gates = sorted({*verdict.reason_codes, *of_faces} - {"MD-001"})
        expected = list(item.expected.reason_codes)
        if gates != expected:
            wrong.append(f"{item.id} got {' '.join(gates) or 'none'}, expected {' '.join(expected) or 'none'}")
    evidence.none("wrong_reason_codes", wrong, n=len(golden.items))


@pytest.mark.experiment("E2.2")
def test_leak_on_data(evidence: Evidence, data_root: Path | None, detector: Detector) -> None:
    """On a team's own pictures without a face: the leak with its upper bound at the contract's confidence."""
    portraits = data_portraits(data_root, "ood", ("CALIBRATION", "TEST-NEVER-TOUCH"))
    if not portraits:
        raise NotTested(
            "leak on --data", "no --data with pictures out of scope was given; the golden set alone was measured"
        )
    calls = detector.model_calls
    leaked = [p.name for p in portraits if detector.predict(p.path).label != "abstain"]
    confidence = detector.policy.operating_point.confidence
    evidence.measure("model_calls_on_data", detector.model_calls - calls, "face")
    evidence.check(
        "leak_upper_bound",
        upper_bound(len(leaked), len(portraits), confidence),
        limit=detector.policy.quality_gates.max_leak,
        unit="rate",
        worst=leaked[:1],
        mean=len(leaked) / len(portraits),
        n=len(portraits),
    )
