"""What a training looked like: one line an epoch, and the final figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ecdd.files import write_bytes


@dataclass(frozen=True)
class EpochRecord:
    """One line of the log.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean training loss.
    validation_auc, validation_nll : float
        On the validation pictures, averaged weights, each (stratum, colour mode, class) weighing alike.
    learning_rate : float
        At the end of the epoch.
    seconds : float
        Wall time.
    """

    epoch: int
    loss: float
    validation_auc: float
    validation_nll: float
    learning_rate: float
    seconds: float


def log_text(history: Sequence[EpochRecord]) -> str:
    """Write the log as CSV, one line an epoch."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(asdict(history[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    return buffer.getvalue()


def write_figure(history: Sequence[EpochRecord], by_source: dict[str, tuple[float, float, float]], path: Path) -> None:
    """Draw loss and AUC by epoch, and the AUC of each source with its interval.

    Parameters
    ----------
    history : sequence of EpochRecord
        At least one epoch.
    by_source : dict of str to tuple of float
        Name to AUC, lower and upper end of its interval.
    path : Path
        PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained", dpi=110)
    left, middle, right = figure.subplots(1, 3)
    epochs = [record.epoch for record in history]
    left.plot(epochs, [record.loss for record in history], marker=".")
    left.set(xlabel="epoch", ylabel="training loss")
    middle.plot(epochs, [record.validation_auc for record in history], marker=".")
    middle.axhline(0.5, color="grey", linestyle=":")
    middle.set(xlabel="epoch", ylabel="validation AUC", ylim=(0, 1))
    names = sorted(by_source)
    for k, name in enumerate(names):
        value, low, high = by_source[name]
        right.plot([low, high], [k, k], color="tab:blue")
        right.plot(value, k, "o", color="tab:blue")
    right.axvline(0.5, color="grey", linestyle=":")
    right.set(yticks=range(len(names)), yticklabels=names, xlabel="AUC, 95 % interval", xlim=(0, 1))
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())
