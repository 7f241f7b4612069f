"""The reference distribution of a bundle: what its events looked like when all was well, in classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecdd.contract.process_sections import Trigger
from ecdd.files import write_output
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.schema import DEVICE_CLASSES, PROBABILITY_DIGITS
from ecdd.monitoring.triggers import TRIGGERS

FORMAT: Final = 1
SCORE_CLASSES: Final = 10  # the deciles of the reference, as PSI is usually taken


class Reference(BaseModel):
    """What a bundle's events looked like when all was well.

    Attributes
    ----------
    bundle_digest : str
        Events of other bundles are not compared with it.
    after_event : int
        Id in the log after which the watch begins; 0 for a reference from elsewhere.
    events : int
        That it was made of.
    score_edges : tuple of float
        Between the classes of the score, rising.
    counts : dict of str to tuple of int
        By trigger, events in every class; all zero where the field was not logged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    bundle_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    after_event: Annotated[int, Field(ge=0)] = 0
    events: Annotated[int, Field(ge=1)]
    score_edges: tuple[float, ...]
    counts: dict[Trigger, tuple[Annotated[int, Field(ge=0)], ...]]

    @model_validator(mode="after")
    def _whole(self) -> Reference:
        if list(self.score_edges) != sorted(set(self.score_edges)):
            msg = "score_edges do not rise"
            raise ValueError(msg)
        for name, trigger in TRIGGERS.items():
            if len(self.counts.get(name, ())) != len(trigger.classes(self.score_edges)):
                msg = f"counts of {name} do not fit its classes"
                raise ValueError(msg)
        return self


def coded(
    events: Sequence[Mapping[str, Any]], score_edges: Sequence[float], names: Iterable[Trigger] = tuple(TRIGGERS)
) -> dict[Trigger, np.ndarray]:
    """Classes of events for every trigger.

    Parameters
    ----------
    events : sequence of mapping
        With the columns of the log.
    score_edges : sequence of float
        Of the reference.
    names : iterable of str
        Triggers; all of them where none is named.

    Returns
    -------
    dict of str to ndarray
        int8, one class an event; `ecdd.monitoring.triggers.NOT_MEASURED` where the event says nothing.
    """
    return {
        name: np.array([TRIGGERS[name].class_of(one, score_edges) for one in events], dtype=np.int8) for name in names
    }


def score_edges_of(scores: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    """Edges between the classes of the score: deciles of these scores, equal ones joined.

    Half a step of the rounded scores above one that is logged, so that no event lies on an edge.
    """
    places, half = np.linspace(0, 1, SCORE_CLASSES + 1)[1:-1], 0.5 * 10.0**-PROBABILITY_DIGITS
    return tuple(float(edge) for edge in np.unique(np.round(np.quantile(scores, places), PROBABILITY_DIGITS) + half))


def counts_of(codes: Mapping[Trigger, np.ndarray], score_edges: Sequence[float]) -> dict[Trigger, tuple[int, ...]]:
    """Events in every class, by trigger; all zero where no event says anything.

    Parameters
    ----------
    codes : mapping of str to ndarray
        As `coded` gives them.
    score_edges : sequence of float
        That they were coded with.
    """
    counts: dict[Trigger, tuple[int, ...]] = {}
    for name, classes in codes.items():
        found = np.bincount(classes[classes >= 0], minlength=len(TRIGGERS[name].classes(score_edges)))
        unsaid = TRIGGERS[name].last_is_unsaid and found[-1] == found.sum()
        counts[name] = tuple(0 if unsaid else int(n) for n in found)
    return counts


def reference_of(
    events: Sequence[Mapping[str, Any]], bundle_digest: str, least: int, after_event: int = 0
) -> Reference:
    """Freeze a reference.

    Parameters
    ----------
    events : sequence of mapping
        Of this bundle, with the columns of the log.
    bundle_digest : str
        Payload digest.
    least : int
        The contract's ``monitoring.drift_min_samples``.
    after_event : int
        Id of the last of these events.

    Returns
    -------
    Reference
        Deciles of the scores, and counts by class.

    Raises
    ------
    MonitoringError
        Too few events, or none with a score.
    """
    if len(events) < least:
        msg = f"a reference needs {least} events (monitoring.drift_min_samples), here are {len(events)}; take more days"
        raise MonitoringError(msg)
    scores = [one["calibrated_probability"] for one in events if one["calibrated_probability"] is not None]
    if not scores:
        msg = f"none of the {len(events)} events has a probability; a reference cannot be made of them"
        raise MonitoringError(msg)
    edges = score_edges_of(scores)
    counts = counts_of(coded(events, edges), edges)
    return Reference(
        bundle_digest=bundle_digest, after_event=after_event, events=len(events), score_edges=edges, counts=counts
    )


def rows_of_scores(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a score table (`ecdd.evaluation.score_table`) in the columns and steps of the log."""
    found = []
    for row in rows:
        if row["outcome"] in ("missing", "changed"):
            continue  # no picture was there to be judged
        p, confidence, quality = row["probability"], row["face_confidence"], row["jpeg_quality"]
        found.append(
            {
                "calibrated_probability": None if p is None else round(p, PROBABILITY_DIGITS),
                "label": row["verdict"],
                "reason_codes": row["reason_codes"],
                "face_confidence": confidence,
                "compression_proxy": None if quality is None else float(round(quality)),
                "device_class": row["device"] if row["device"] in DEVICE_CLASSES else "unknown",
            }
        )
    return found


def save(reference: Reference, path: Path, inputs: Iterable[Path] = ()) -> None:
    """Write a reference as JSON; ``inputs`` are not overwritten."""
    write_output(path, (reference.model_dump_json(indent=1) + "\n").encode(), inputs=inputs)


def load(path: Path) -> Reference:
    """Read a reference; `MonitoringError` when the file is none."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"{path}: {error.strerror}; freeze one with ecdd monitor reference"
        raise MonitoringError(msg) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        msg = f"{path}: is no reference, {'.'.join(map(str, first['loc']))}: {first['msg']}; ecdd monitor reference"
        raise MonitoringError(msg) from None
