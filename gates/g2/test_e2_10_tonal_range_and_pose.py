"""E2.10 tonal range and pose: pictures of few tonal values (1-bit, dithered, palettes of 8, posterised) and faces
turned beyond a stated roll abstain with their own codes.

Dithering once made most golden fakes real: what is judged there is the dithering. Fails when such a picture is
judged or gets another code, or when a photograph gets theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.quality import asks_for_tonal_values
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.stages import PreparedPicture, prepare
from gates.support.fixtures import Evidence, GoldenSet, NotTested
from gates.support.portraits import Portrait, data_portraits, golden_portraits, open_portrait, png
from gates.support.tonal_pictures import ENOUGH_TONES, FEW_TONES, NOT_TOLD_APART, Photograph

FEW, TURNED = ReasonCode.FEW_TONAL_VALUES, ReasonCode.FACE_TURNED
TURNS = {
    "quarter_turn_left": Image.Transpose.ROTATE_90,
    "half_turn": Image.Transpose.ROTATE_180,
    "quarter_turn_right": Image.Transpose.ROTATE_270,
}
BEYOND = 15.0  # degrees past the limit: more than the eye line is out by
LARGEST_SIDE = 640
Photographs = dict[str, Photograph]


@pytest.fixture(scope="module")
def photographs(golden: GoldenSet, policy: PolicyContract) -> Photographs:
    """Golden portraits of moderate size."""
    found = {}
    for portrait in golden_portraits(golden):
        image = open_portrait(portrait, policy)
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BILINEAR)
        found[portrait.name] = Photograph(image)
    return found


def coded(
    photographs: Photographs, make: Callable[[Photograph], bytes], policy: PolicyContract, finder: FaceBackend
) -> dict[str, PreparedPicture]:
    """What becomes of each picture before any model."""
    return {name: prepare(make(one), policy, finder) for name, one in photographs.items()}


def judged(outcomes: dict[str, PreparedPicture]) -> list[str]:
    """Pictures of which a face would reach the model."""
    return [name for name, outcome in outcomes.items() if outcome.judgeable]


def without(outcomes: dict[str, PreparedPicture], code: ReasonCode) -> list[str]:
    """Pictures with a face of sufficient size that does not carry the code."""
    small = (ReasonCode.FACE_TOO_SMALL,)
    return [
        name
        for name, outcome in outcomes.items()
        if any(code not in face.reason_codes and face.reason_codes != small for face in outcome.faces)
    ]


def having(outcomes: dict[str, PreparedPicture], code: ReasonCode) -> list[str]:
    """Pictures with a face that carries the code."""
    return [name for name, out in outcomes.items() if any(code in face.reason_codes for face in out.faces)]


def _tonal_finder(policy: PolicyContract) -> FaceBackend:
    if not asks_for_tonal_values(policy.quality_gates):
        raise NotTested("few tonal values", "the contract's quality_gates.min_tonal_levels and max_large_steps are off")
    return load_detector(policy.face_detector)


def _turning_finder(policy: PolicyContract) -> FaceBackend:
    if policy.quality_gates.max_roll >= 90 or policy.face_detector.second_look != "border_and_turns":
        raise NotTested("turned faces", "the contract's quality_gates.max_roll or face_detector.second_look is off")
    return load_detector(policy.face_detector)


@pytest.mark.experiment("E2.10")
def test_few_tonal_values_abstain(evidence: Evidence, policy: PolicyContract, photographs: Photographs) -> None:
    finder = _tonal_finder(policy)
    for name, make in FEW_TONES.items():
        outcomes = coded(photographs, make, policy, finder)
        evidence.none(f"{name}_judged", judged(outcomes), n=len(outcomes))
        evidence.none(f"{name}_without_GR-008", without(outcomes, FEW), n=len(outcomes))
    for name, make in NOT_TOLD_APART.items():
        evidence.measure(f"{name}_judged", len(judged(coded(photographs, make, policy, finder))), "picture")


@pytest.mark.experiment("E2.10")
def test_photographs_keep_their_tones(evidence: Evidence, policy: PolicyContract, photographs: Photographs) -> None:
    finder = _tonal_finder(policy)
    for name, make in ENOUGH_TONES.items():
        outcomes = coded(photographs, make, policy, finder)
        evidence.none(f"{name}_taken_for_few_tones", having(outcomes, FEW), n=len(outcomes))


@pytest.mark.experiment("E2.10")
def test_turned_faces_abstain(evidence: Evidence, policy: PolicyContract, photographs: Photographs) -> None:
    """Turned by quarters without a tag, and by more than the limit; upright faces are not called turned."""
    finder = _turning_finder(policy)
    angle = policy.quality_gates.max_roll + BEYOND
    ways: dict[str, Callable[[Photograph], bytes]] = {
        name: lambda one, turn=turn: png(one.image.transpose(turn)) for name, turn in TURNS.items()
    }
    for name, sign in (("beyond_the_limit_left", 1), ("beyond_the_limit_right", -1)):
        ways[name] = lambda one, sign=sign: png(one.image.rotate(sign * angle, Image.Resampling.BICUBIC, expand=True))
    for name, make in ways.items():
        outcomes = coded(photographs, make, policy, finder)
        evidence.none(f"{name}_judged", judged(outcomes), n=len(outcomes))
        evidence.none(f"{name}_without_GR-009", without(outcomes, TURNED), n=len(outcomes))
    upright = coded(photographs, lambda one: png(one.image), policy, finder)
    evidence.none("upright_called_turned", having(upright, TURNED), n=len(upright))


@pytest.mark.experiment("E2.10")
def test_data_is_rarely_refused(evidence: Evidence, data_root: Path | None, policy: PolicyContract) -> None:
    """Photographs as they are: few of them may fail these gates."""
    finder = _tonal_finder(policy)
    portraits = data_portraits(data_root, "face", ("CALIBRATION", "TEST-NEVER-TOUCH"))
    if not portraits:
        raise NotTested("false alarms on --data", "no --data was given; reports/default holds the last one")
    outcomes = _prepared(portraits, policy, finder)
    for name, code in (("few_tones", FEW), ("turned", TURNED)):
        wrong = having(outcomes, code)
        evidence.check(f"{name}_false_alarms", len(wrong) / len(outcomes), limit=policy.quality_gates.max_missed_faces,
                       unit="rate", worst=wrong[:1], n=len(outcomes))  # fmt: skip


def _prepared(portraits: Sequence[Portrait], policy: PolicyContract, finder: FaceBackend) -> dict[str, PreparedPicture]:
    found = {}
    for portrait in portraits:
        try:
            found[portrait.name] = prepare(portrait.path.read_bytes(), policy, finder, name=portrait.path.name)
        except Rejected:
            continue
    return found
