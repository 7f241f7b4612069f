"""The report of a comparison: JSON that can be judged again, and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecdd.evidence.verdicts import finite
from ecdd.files import write_output
from ecdd.parity.drawing import draw_cells, draw_layers, draw_worst
from ecdd.parity.parity_metric import ParityMetric, overall

if TYPE_CHECKING:
    from ecdd.evidence.records import Result, Verdict
    from ecdd.parity.layer_bisecting import LayerComparison
    from ecdd.parity.pair_comparison import ComparedSide, PairParity

REPORT = "parity.json"
WRITTEN = (REPORT, "worst.png", "cells.png", "layers.png")


@dataclass(frozen=True, eq=False)
class ParityReport:
    """A comparison and what it was made with.

    Attributes
    ----------
    reference, candidate : ComparedSide
        The pair.
    data : str
        What the pictures are.
    parity : PairParity
        What was measured.
    layers : LayerComparison or None
        None where it was not asked for.
    """

    reference: ComparedSide
    candidate: ComparedSide
    data: str
    parity: PairParity
    layers: LayerComparison | None

    @property
    def verdict(self) -> Verdict:
        """Verdict of all metrics, incomplete where an output has no partner; layers say where, not whether."""
        found = overall(self.parity.metrics)
        return "incomplete" if found == "pass" and self.parity.other_outputs.alone else found

    @property
    def not_measured(self) -> list[str]:
        """What a reader could expect and does not get, with the reason."""
        missing = [f"output {one}: no partner in the other file" for one in self.parity.other_outputs.alone]
        if self.parity.probability is None:
            missing.append(
                "probability and decisions: no calibration; give --bundle, or --temperature (and --bias, --t-real, "
                "--t-fake)"
            )
        elif self.parity.probability.flips is None:
            missing.append("decisions: no thresholds; give --t-real and --t-fake")
        if self.reference.side.sha256 == self.candidate.side.sha256:
            missing.append("two files: reference and candidate are the same bytes")
        return missing

    def stored(self) -> dict[str, Any]:
        """Everything as JSON values."""
        parity = self.parity
        flips = () if parity.probability is None else parity.probability.flips or ()
        return {
            "verdict": self.verdict,
            "reference": _about(self.reference),
            "candidate": _about(self.candidate),
            "data": {
                "given": self.data,
                "pictures": parity.n_pictures,
                "tensors": list(parity.names),
                "left_out": parity.left_out,
            },
            "pooled_by": parity.pooled_by,
            "other_outputs": [list(pair) for pair in parity.other_outputs.pairs],
            "metrics": [one.stored() for one in parity.metrics],
            "not_measured": self.not_measured,
            "flips": [{**asdict(flip), "sample": parity.names[flip.sample]} for flip in flips],
            "by_tensor": {
                name: finite(value) for name, value in zip(parity.names, parity.patch.by_map.tolist(), strict=True)
            },
            "largest_difference_by_cell": [[finite(cell) for cell in row] for row in parity.patch.by_cell.tolist()],
            "layers": None if self.layers is None else _layers(self.layers),
        }

    def write(self, folder: Path, inputs: Iterable[Path] = ()) -> list[Path]:
        """Write ``parity.json``, ``worst.png``, ``cells.png`` and, where there are layers, ``layers.png``.

        Parameters
        ----------
        folder : Path
            Made when missing.
        inputs : iterable of Path
            Files and folders that were read, of which none is replaced.

        Returns
        -------
        list of Path
            The files.
        """
        parity = self.parity
        place = parity.names.index(parity.worst.name)
        maps = parity.reference.maps[place], parity.candidate.maps[place]
        titles = (f"reference {self.reference.side.kind}", f"candidate {self.candidate.side.kind}")
        pictures = {"worst.png": draw_worst(parity.worst, *maps, titles), "cells.png": draw_cells(parity.patch)}
        if self.layers is not None:
            pictures["layers.png"] = draw_layers(self.layers.layers)
        read = list(inputs)
        for name, content in pictures.items():
            write_output(folder / name, content, inputs=read)
        content = (json.dumps(self.stored(), indent=1, allow_nan=False) + "\n").encode()
        write_output(folder / REPORT, content, inputs=read)
        return [folder / name for name in (REPORT, *pictures)]


def judge_stored(metrics: list[dict[str, Any]], limits: dict[str, float] | None = None) -> Result:
    """Judge stored metrics again, without running anything.

    Parameters
    ----------
    metrics : list of dict
        ``metrics`` of a ``parity.json``; the stored verdicts are not believed.
    limits : dict of str to float, optional
        New limits by metric name.

    Returns
    -------
    {"pass", "fail"}
        Of all of them.
    """
    rows = [ParityMetric(**{key: value for key, value in row.items() if key != "verdict"}) for row in metrics]
    return overall([ParityMetric(**{**vars(row), "limit": (limits or {}).get(row.name, row.limit)}) for row in rows])


def _about(one: ComparedSide) -> dict[str, Any]:
    rule, calibration = one.pipeline.rule, one.calibration
    pixels = rule.contract.policy.pixel_pipeline
    return {
        "file": one.side.spec,
        "sha256": one.side.sha256,
        "runtime": one.side.runtime.describe(),
        "contract_digest": rule.contract.digest,
        "input": {
            "height": rule.size[0],
            "width": rule.size[1],
            "whole_picture": rule.whole_picture,
            "pixel_scale": pixels.pixel_scale,
            "mean": list(pixels.normalisation_mean),
            "std": list(pixels.normalisation_std),
        },
        "calibration": None
        if calibration is None
        else {
            "temperature": calibration.applied.temperature,
            "bias": calibration.applied.bias,
            "knots": len(calibration.applied.knots),
            "thresholds": calibration.band,
            "origin": calibration.origin,
        },
    }


def _layers(layers: LayerComparison) -> dict[str, Any]:
    first = layers.first_exceeding
    return {
        "first_above_its_budget": None if first is None else first.name,
        "changed_by_watching": {"reference": finite(layers.changed[0]), "candidate": finite(layers.changed[1])},
        "without_partner": {"reference": list(layers.unmatched[0]), "candidate": list(layers.unmatched[1])},
        "layers": [layer.stored() for layer in layers.layers],
    }
