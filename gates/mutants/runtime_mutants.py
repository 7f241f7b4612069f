"""Defects at the boundary of the model file: configuration, integers, and files that are not this week's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Change = Callable[[dict[str, Any]], dict[str, Any]]


def _configure(change: Change) -> None:
    """The application loads its runtime with settings of its own."""
    from ecdd import detector

    really = detector.load_runtime
    detector.load_runtime = lambda bundle, name, threads, **more: really(  # type: ignore[assignment]
        bundle, name, **change({"threads": threads, **more})
    )


def xnnpack_off() -> None:
    """A build of LiteRT without XNNPACK."""
    _configure(lambda settings: settings | {"xnnpack": False})


def other_threads() -> None:
    """As many threads as the machine has."""
    _configure(lambda settings: settings | {"threads": 4})


def preserve_all_tensors() -> None:
    """A flag for debugging was left on."""
    from ecdd.runtimes import tflite

    really = tflite.TFLiteRuntime.__init__
    tflite.TFLiteRuntime.__init__ = lambda self, model, **settings: really(  # type: ignore[method-assign]
        self, model, **settings | {"preserve_all": True}
    )


def no_dequantise() -> None:
    """Integers of the output are taken for logits."""
    _boundary().dequantise = lambda _self, integers: integers.astype(np.float32)


def truncate_not_round() -> None:
    """A cast to an integer cuts off what is behind the point."""

    def planted(self: Any, values: Any) -> Any:
        ends = np.iinfo(self.dtype)
        steps = np.trunc(values / np.float32(self.scale)) + self.zero_point
        return steps.clip(ends.min, ends.max).astype(self.dtype)

    _boundary().quantise = planted


def no_clip() -> None:
    """What lies beyond the integers wraps around."""
    _boundary().quantise = lambda self, values: (
        (np.rint(values * (np.float32(1) / np.float32(self.scale))) + self.zero_point)
        .astype(np.int64)
        .astype(self.dtype)
    )


def zero_scale() -> None:
    """Nobody looks at the scale of an integer tensor."""
    _boundary().problem = lambda _self: None


def _boundary() -> Any:
    from ecdd.runtimes.integer_io import AffineQuantisation

    return AffineQuantisation


def stale_tflite() -> None:
    """The digests of a bundle's files are listed and never compared."""
    from ecdd.bundle import loading

    loading.compare = lambda _root, _listed: None
    loading.Bundle.read = lambda self, name: self.file(name).read_bytes()  # type: ignore[method-assign]
