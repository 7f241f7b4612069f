"""Defects in the guardrails: another detector, a lowered threshold, abstaining too late, shuffled codes."""

from __future__ import annotations

import dataclasses
from typing import Any

from ecdd import detector as detector_module
from ecdd.inference import decision
from ecdd.pipeline import blazeface, face, quality, second_look, stages
from ecdd.pipeline.reason_codes import ReasonCode


def detector_swap() -> None:
    """A newer package brings another weight file, and nobody compares it with the contract."""
    really = blazeface.BlazeFace.identity
    blazeface.BlazeFace.identity = lambda self: dataclasses.replace(really(self), weights_sha256="f" * 64)


def detector_drift() -> None:
    """The same weights in another version of the library: scores move beyond what another processor may do."""
    really = blazeface.scores_of
    blazeface.scores_of = lambda raw: really(raw) * 0.97


def threshold_lowered() -> None:
    """Somebody lowered the face threshold to stop complaints about missed faces."""
    really = detector_module.prepare

    def planted(data: bytes, policy: Any, finder: Any, *, name: str | None = None) -> Any:
        lowered = {"score_threshold": 0.15, "candidate_threshold": 0.1}
        section = policy.face_detector.model_copy(update=lowered)
        gates = policy.quality_gates.model_copy(update={"min_face_side": 8, "blur_threshold": 0.0})
        return really(
            data, policy.model_copy(update={"face_detector": section, "quality_gates": gates}), finder, name=name
        )

    detector_module.prepare = planted
    really_load = detector_module.load_detector

    def load(policy: Any, threads: int = 1) -> Any:
        return really_load(policy.model_copy(update={"candidate_threshold": 0.1}), threads=threads)

    detector_module.load_detector = load


def model_called_on_ood() -> None:
    """The model runs on the whole picture first; abstaining is decided afterwards."""
    really = detector_module.prepare

    def planted(data: bytes, policy: Any, finder: Any, *, name: str | None = None) -> Any:
        prepared = really(data, policy, finder, name=name)
        if prepared.faces or not prepared.reason_codes:
            return prepared
        from ecdd.pipeline.face import Face

        whole = Face((0.0, 0.0, float(prepared.decoded.image.width), float(prepared.decoded.image.height)), 1.0)
        face = stages.prepare_face(prepared.decoded, whole, policy, dict.fromkeys(prepared.milliseconds, 0.0))
        return dataclasses.replace(prepared, faces=(face,), judgeable=(0,))

    detector_module.prepare = planted


def wrong_reason_code() -> None:
    """The table of codes was shuffled: no face reads as too many faces."""
    really = stages.picture_codes
    swapped = {ReasonCode.NO_FACE: ReasonCode.TOO_MANY_FACES, ReasonCode.TOO_MANY_FACES: ReasonCode.NO_FACE}
    stages.picture_codes = lambda *arguments: tuple(swapped.get(code, code) for code in really(*arguments))


def largest_face_only() -> None:
    """Only the largest face is asked, whatever the contract says."""
    really = detector_module.Detector._judge

    def planted(self: Any, prepared: Any, milliseconds: dict[str, float]) -> Any:
        judged = really(self, prepared, milliseconds)
        largest = max(judged, key=lambda index: prepared.faces[index].quality.face_side)
        return {largest: judged[largest]}

    detector_module.Detector._judge = planted  # type: ignore[method-assign]


def framing_dependent_face() -> None:
    """The second look was switched off to save time: whether a face is found depends on how its picture was cut."""
    second_look.SecondLook.detect = lambda self, image: self._first.detect(image)  # type: ignore[method-assign]


def first_face_ends_the_search() -> None:
    """One sure face and nobody looks at the parts of a long picture: the others in the group are never judged."""
    second_look.SecondLook._with_parts = lambda _self, _image, found: found  # type: ignore[method-assign]


def only_rows_in_parts() -> None:
    """Parts were thought of for panoramas: a stack of portraits is read as one picture."""
    really = second_look.squares
    second_look.squares = lambda size, overlap: really(size, overlap) if size[0] > size[1] else []


def nearly_a_face_is_a_face() -> None:
    """The threshold was thought to be enough: what barely passes it is never shown to the face mesh."""
    second_look.SecondLook._is_refuted = lambda _self, _face, _image: False  # type: ignore[method-assign]


def limit_of_another_network() -> None:
    """The blur limit was set by another network: soft fakes pass the gate, and this one takes them for real."""
    from ecdd.evaluation import metrics

    really = metrics.reached_model

    def planted(rows: Any) -> Any:
        judged = really(rows)
        fakes = sorted(row["blur"] for row in judged if row["label"] == 1)
        soft = fakes[len(fakes) // 10] if fakes else 0.0
        taken = {"probability": 0.0, "verdict": "real"}
        return [row | taken if row["label"] == 1 and row["blur"] < soft else row for row in judged]

    metrics.reached_model = planted


def dithered_is_real() -> None:
    """Nobody looks at tonal values: a dithered face is judged by its dithering."""
    quality.has_few_tonal_values = lambda _quality, _gates: False


def margin_of_the_width() -> None:
    """The crop's side follows from the width of the box: a face that is taller loses chin and forehead."""
    face.crop_side = lambda found, policy: max(
        face.round_half_up(policy.crop_margin * (found.box[2] - found.box[0])), 1
    )


def failed_face_forgotten() -> None:
    """A face that failed a gate has no say: a group is real where the faces that could be judged are."""
    really = detector_module.decide
    detector_module.decide = lambda judged, codes, *rest: really(
        judged, [() for _ in codes] if judged else codes, *rest
    )


def places_of_judged_faces() -> None:
    """Judged faces are counted among themselves, not among all faces of the picture."""
    really = detector_module.Detector._judge
    detector_module.Detector._judge = lambda *given: dict(enumerate(really(*given).values()))  # type: ignore[method-assign]


def last_of_equals_decides() -> None:
    """Of faces with one probability the last one decides."""
    really = decision.decide

    def planted(judged: Any, *rest: Any) -> Any:
        last = max(judged, key=lambda place: (judged[place], place), default=None)
        return dataclasses.replace(really(judged, *rest), deciding_face=last)

    decision.decide = planted
