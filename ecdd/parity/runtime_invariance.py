"""Whether outputs stay the same, to the bit, over configurations of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.parity.parity_metric import ParityError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Invariance:
    """One configuration against the pinned one.

    Attributes
    ----------
    name : str
        Configuration.
    identical : bool
        Every byte of every output is the same: 0.0 and -0.0 differ, and so do two kinds of NaN.
    differing : tuple of int
        Places of the samples with another byte in any output.
    max_difference : float
        Over all outputs; NaN where one of them is not finite.
    n : int
        Samples.
    """

    name: str
    identical: bool
    differing: tuple[int, ...]
    max_difference: float
    n: int


def invariance(outputs: Mapping[str, Mapping[str, NDArray[Any]]], pinned: str) -> list[Invariance]:
    """Compare the outputs of configurations with the pinned one's.

    Parameters
    ----------
    outputs : mapping of str to mapping of str to ndarray
        Configuration to named outputs, each with the samples on its first axis.
    pinned : str
        The configuration that the others are compared with.

    Returns
    -------
    list of Invariance
        One a configuration, in the order of `outputs`, the pinned one left out.

    Raises
    ------
    ParityError
        Without the pinned configuration, without another one, without samples, or for other output names, dtypes or
        shapes.
    """
    if pinned not in outputs:
        raise ParityError(f"configuration {pinned!r} is missing; there are {', '.join(outputs) or 'none'}")
    expected = outputs[pinned]
    if len(outputs) < 2 or not expected or not all(len(one) for one in expected.values()):
        raise ParityError(f"nothing to compare with {pinned!r}: two configurations with samples are needed")
    rows = []
    for name, found in outputs.items():
        if name == pinned:
            continue
        shapes = [{key: (str(one.dtype), one.shape) for key, one in side.items()} for side in (expected, found)]
        if shapes[0] != shapes[1]:
            raise ParityError(f"{name}: outputs are {shapes[1]}, of {pinned} they are {shapes[0]}")
        differing = np.zeros(len(next(iter(expected.values()))), bool)
        apart = []
        for key, reference in expected.items():
            pairs = zip(reference, found[key], strict=True)
            differing |= np.array([a.tobytes() != b.tobytes() for a, b in pairs])
            change = np.abs(found[key].astype(np.float64) - reference.astype(np.float64))
            apart.append(float(change.max()) if np.isfinite(change).all() else float("nan"))
        places = tuple(np.flatnonzero(differing).tolist())
        rows.append(Invariance(name, not places, places, float(np.max(apart)), len(differing)))
    return rows
