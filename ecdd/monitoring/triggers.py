"""The drift triggers: what each reads of an event, the classes it counts, and the effect that it needs to fire."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ecdd.contract.process_sections import Monitoring, Trigger
from ecdd.monitoring.schema import DEVICE_CLASSES
from ecdd.pipeline.reason_codes import ReasonCode

# estimated JPEG quality up to which a class goes; the sixth class is unknown (PNG, WebP)
COMPRESSION_LIMITS: Final = (40.0, 60.0, 80.0, 92.0)
COMPRESSION_CLASSES: Final = ("up to 40", "up to 60", "up to 80", "up to 92", "above 92", "unknown")
# nothing usable as a face was found
FACE_FAILURES: Final = frozenset({ReasonCode.NO_FACE, ReasonCode.LOW_FACE_CONFIDENCE, ReasonCode.FACE_TOO_SMALL})
NOT_MEASURED: Final = -1
_SMOOTHING: Final = 0.5  # added to every class before a logarithm, so that an empty one is no infinite distance

Event = Mapping[str, Any]
ScoreEdges = Sequence[float]
Effect = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class DriftTrigger:
    """One way for a stream to leave its reference.

    Attributes
    ----------
    needs : tuple of str
        Columns of the log that it reads; without them in the contract's logged fields it cannot be judged.
    classes : callable
        Names of the classes that it counts, from the edges between the score classes of the reference.
    class_of : callable
        Class of one event, from the event and those edges; `NOT_MEASURED` where the event says nothing.
    effects : mapping of str to callable
        Measures of a window against the reference, from the counts of both, (..., classes) each.
    limits : mapping of str to str
        Measure to the contract's ``monitoring`` knob that it must exceed, all of them; a measure without a knob is
        shown only.
    last_is_unsaid : bool
        Whether a reference with nothing but the last class was made where nobody told the class.
    """

    needs: tuple[str, ...]
    classes: Callable[[ScoreEdges], tuple[str, ...]]
    class_of: Callable[[Event, ScoreEdges], int]
    effects: Mapping[str, Effect]
    limits: Mapping[str, str]
    last_is_unsaid: bool = False


def compression_class(quality: float | None) -> int:
    """Place in `COMPRESSION_CLASSES` of an estimated JPEG quality, 0 to 100; None is unknown."""
    return len(COMPRESSION_LIMITS) + 1 if quality is None else bisect.bisect_left(COMPRESSION_LIMITS, quality)


def _score_classes(edges: ScoreEdges) -> tuple[str, ...]:
    ends = ("0", *(f"{edge:.4g}" for edge in edges), "1")
    return tuple(f"{low} to {high}" for low, high in itertools.pairwise(ends))


def _no_and_yes(_edges: ScoreEdges) -> tuple[str, ...]:
    return ("no", "yes")


def _score(event: Event, edges: ScoreEdges) -> int:
    p = event["calibrated_probability"]
    return NOT_MEASURED if p is None else bisect.bisect_right(edges, p)


def _abstained(event: Event, _edges: ScoreEdges) -> int:
    label = event["label"]
    return NOT_MEASURED if label is None else int(label == "abstain")


def _face_failed(event: Event, _edges: ScoreEdges) -> int:
    codes = event["reason_codes"]
    return NOT_MEASURED if codes is None else int(not FACE_FAILURES.isdisjoint(codes.split()))


def _compression(event: Event, _edges: ScoreEdges) -> int:
    # it is measured on the face, so without one nothing is known
    return NOT_MEASURED if event["face_confidence"] is None else compression_class(event["compression_proxy"])


def _device(event: Event, _edges: ScoreEdges) -> int:
    name = event["device_class"]
    return DEVICE_CLASSES.index(name) if name in DEVICE_CLASSES else NOT_MEASURED


def _share(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _smoothed(counts: np.ndarray) -> np.ndarray:
    return _share(counts + _SMOOTHING)


def _increase(window: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.asarray(_share(window)[..., 1] - _share(reference)[..., 1])


def _psi(window: np.ndarray, reference: np.ndarray) -> np.ndarray:
    now, before = _smoothed(window), _smoothed(reference)
    return np.asarray(((now - before) * np.log(now / before)).sum(axis=-1))


def _ks(window: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.cumsum(_share(window) - _share(reference), axis=-1)).max(axis=-1))


def _kl(window: np.ndarray, reference: np.ndarray) -> np.ndarray:
    now, before = _smoothed(window), _smoothed(reference)
    return np.asarray((now * np.log(now / before)).sum(axis=-1))


TRIGGERS: Final[dict[Trigger, DriftTrigger]] = {
    "score_shift": DriftTrigger(
        needs=("calibrated_probability",),
        classes=_score_classes,
        class_of=_score,
        effects={"psi": _psi, "ks": _ks, "kl": _kl},
        limits={"psi": "drift_max_psi", "ks": "drift_min_ks"},
    ),
    "abstain_spike": DriftTrigger(
        needs=("label",),
        classes=_no_and_yes,
        class_of=_abstained,
        effects={"increase": _increase},
        limits={"increase": "drift_max_abstain_increase"},
    ),
    "face_failure_spike": DriftTrigger(
        needs=("reason_codes",),
        classes=_no_and_yes,
        class_of=_face_failed,
        effects={"increase": _increase},
        limits={"increase": "drift_max_face_failure_increase"},
    ),
    "compression_shift": DriftTrigger(
        needs=("compression_proxy", "face_confidence"),
        classes=lambda _edges: COMPRESSION_CLASSES,
        class_of=_compression,
        effects={"psi": _psi},
        limits={"psi": "drift_max_compression_psi"},
    ),
    "device_shift": DriftTrigger(
        needs=("device_class",),
        classes=lambda _edges: DEVICE_CLASSES,
        class_of=_device,
        effects={"psi": _psi},
        limits={"psi": "drift_max_device_psi"},
        last_is_unsaid=True,
    ),
}


def effects_of(trigger: Trigger, window: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of a trigger, from counts of window and reference, (..., classes) each."""
    return {name: measure(window, reference) for name, measure in TRIGGERS[trigger].effects.items()}


def limits_of(trigger: Trigger, knobs: Monitoring) -> dict[str, float]:
    """Effects that a trigger needs, all of them."""
    return {name: getattr(knobs, knob) for name, knob in TRIGGERS[trigger].limits.items()}
