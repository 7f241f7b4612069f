"""What a model file's output means: the one place where any declared output becomes a logit, larger means fake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.contract.interface_section import CLASS_KINDS, OutputKind
from ecdd.runtimes.base import RuntimeFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# operator of a TFLite file -> kind of the output that it makes
PROBABILITIES: Final[dict[str, OutputKind]] = {"LOGISTIC": "probability", "SOFTMAX": "class_probabilities"}
SLACK = 0.02  # of probabilities from integers, whose steps need not add up to 1


def as_logits(
    file: str, name: str, values: NDArray[np.floating[Any]], kind: OutputKind, fake: int, clip: float
) -> NDArray[np.float32]:
    """Turn an output that decides into one logit a picture.

    Parameters
    ----------
    file, name : str
        File and output, for messages.
    values : ndarray, float, shape (N, …)
        One number a picture, or one a class.
    kind : OutputKind
        What the numbers are. Two or more classes become fake against all others.
    fake : int
        Place of fake among the classes.
    clip : float
        Probabilities are kept this far from 0 first.

    Returns
    -------
    ndarray, float32, shape (N,)
        A logit as it is; a probability p as log(p) - log(1 - p); class logits as fake less the log of the summed
        exponentials of the others; class probabilities as log(fake) - log(sum of the others).

    Raises
    ------
    RuntimeFileError
        If declared probabilities are none: outside of 0 to 1, or not adding up to 1.
    """
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    if kind in {"probability", "class_probabilities"}:
        _check_probabilities(file, name, rows, kind)
    if kind == "class_logits":
        others = np.delete(rows, fake, axis=1)
        top = others.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # judged by its result
            return np.asarray(rows[:, fake] - (top[:, 0] + np.log(np.exp(others - top).sum(axis=1))), np.float32)
    if kind == "class_probabilities":
        mine, rest = rows[:, fake], np.delete(rows, fake, axis=1).sum(axis=1)
    elif kind == "probability":
        mine, rest = rows[:, 0], 1 - rows[:, 0]
    else:
        return np.asarray(rows[:, 0], np.float32)
    return np.asarray(np.log(np.maximum(mine, clip)) - np.log(np.maximum(rest, clip)), np.float32)


def numbers_of(kind: OutputKind, classes: int) -> int:
    """How many numbers a picture an output of a kind gives."""
    return classes if kind in CLASS_KINDS else 1


def _check_probabilities(file: str, name: str, rows: NDArray[np.float64], kind: OutputKind) -> None:
    found = ""
    if rows.size and (np.nanmin(rows) < -SLACK or np.nanmax(rows) > 1 + SLACK):
        found = f"values from {np.nanmin(rows):.4g} to {np.nanmax(rows):.4g}"
    elif kind == "class_probabilities" and rows.size and float(np.nanmax(np.abs(rows.sum(axis=1) - 1))) > SLACK:
        found = f"rows that add up to {float(rows.sum(axis=1)[np.nanargmax(np.abs(rows.sum(axis=1) - 1))]):.4g}"
    if found:
        other = {"probability": "logit", "class_probabilities": "class_logits"}[kind]
        wanted = f"{name} with probabilities, as model_interface.output_kind {kind} says"
        raise RuntimeFileError(file, wanted, f"{found}; if these are logits, the kind is {other}")
