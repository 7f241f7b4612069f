"""Implementations with one known mistake, dumped in processes of their own, and what the judge must say of each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ecdd.bundle.loading import Bundle
from ecdd.golden.golden_sets import GoldenItem
from gates.mutants import decoding_mutants, model_mutants, preprocessing_mutants

# two turned by their tags, one with transparency, a plain real and a plain fake, a face larger than the model's input
PLAIN: Final = ("real_oath_a", "fake_generated_00", "real_obama_2012")
PICTURES: Final = ("exif_orientation_6", "exif_orientation_3", "alpha_png", *PLAIN)


@dataclass(frozen=True)
class Defect:
    """How a mistake is made, and the stage and kind of cause that must be named for it."""

    plant: Callable[[], None]
    stage: str
    kind: str


def half_precision() -> None:
    """The tensor is kept in 16 bits."""
    from ecdd.pipeline import preprocess

    really = preprocess.normalise

    def planted(s3: Any, policy: Any) -> Any:
        right = really(s3, policy)
        return np.clip(right.astype(np.float16).astype(np.float32), right.min(axis=(0, 1)), right.max(axis=(0, 1)))

    preprocess.normalise = planted


def reshaped_for_the_file() -> None:
    """NHWC to NCHW by reshape around the file."""
    _change_input(lambda batch: np.ascontiguousarray(batch.transpose(0, 3, 1, 2)).reshape(batch.shape))


def channels_exchanged_for_the_file() -> None:
    """The file is given BGR."""
    _change_input(lambda batch: np.ascontiguousarray(batch[..., ::-1]))


def _change_input(change: Callable[[Any], Any]) -> None:
    from ecdd.runtimes.tflite import TFLiteRuntime

    really = TFLiteRuntime.outputs
    TFLiteRuntime.outputs = lambda self, batch: really(self, change(batch))  # type: ignore[method-assign]


def sigmoid_twice() -> None:
    """The probability is taken for a logit again."""
    from ecdd.inference import stages

    really = stages.probability
    stages.probability = lambda logit: really(really(logit))


def one_threshold() -> None:
    """Half is the threshold, and there is no abstain band."""
    from ecdd import detector

    really = detector.decide
    halves = {"t_real": 0.5, "t_fake": 0.5}
    detector.decide = lambda p, codes, gates, point: really(p, codes, gates, point.model_copy(update=halves))


DEFECTS: Final[Mapping[str, Defect]] = {
    "no_exif": Defect(decoding_mutants.no_exif, "S1", "orientation"),
    "bgr": Defect(decoding_mutants.bgr, "S1", "order"),
    "alpha_on_black": Defect(decoding_mutants.alpha_on_black, "S1", "colour"),
    "other_decoder": Defect(decoding_mutants.other_decoder, "S1", "decoder"),
    "bicubic": Defect(preprocessing_mutants.bicubic, "S3", "kernel"),
    "area": Defect(preprocessing_mutants.area, "S3", "kernel"),
    "nearest": Defect(preprocessing_mutants.nearest, "S3", "kernel"),
    "no_antialias": Defect(preprocessing_mutants.no_antialias, "S3", "kernel"),
    "squash": Defect(preprocessing_mutants.squash, "S3", "crop"),
    "scale_twice": Defect(preprocessing_mutants.scale_twice, "S4", "range"),
    "range_minus1_1": Defect(preprocessing_mutants.range_minus1_1, "S4", "range"),
    "half_precision": Defect(half_precision, "S4", "rounding"),
    "transpose_grid": Defect(model_mutants.transpose_grid, "S5", "layout"),
    "reshape_as_transpose": Defect(reshaped_for_the_file, "S5", "layout"),
    "bgr_model": Defect(channels_exchanged_for_the_file, "S5", "order"),
    "inverted_score": Defect(model_mutants.inverted_score, "S5", "sign"),
    "pool_max_for_mean": Defect(model_mutants.pool_max_for_mean, "S6", "pooling"),
    "double_sigmoid": Defect(sigmoid_twice, "S7", "calibration"),
    "one_threshold": Defect(one_threshold, "S8", "threshold"),
}


def dump_of(name: str, bundle: Bundle, items: Sequence[GoldenItem], out: Path) -> Path:
    """Dump pictures in a process with one defect; nothing of it stays in this one.

    Parameters
    ----------
    name : str
        Key of `DEFECTS`; ``""`` for none.
    bundle : Bundle
        To judge with.
    items : sequence of GoldenItem
        With absolute paths.
    out : Path
        Folder to write: nothing of the flat form is packed, which would take as long as the pictures do.

    Returns
    -------
    Path
        ``out``.
    """
    process = multiprocessing.get_context("fork").Process(target=_planted, args=(name, bundle, items, out))
    process.start()
    process.join(300)
    assert process.exitcode == 0, f"the process with {name or 'no defect'} ended with {process.exitcode}"
    return out


def _planted(name: str, bundle: Bundle, items: Sequence[GoldenItem], out: Path) -> None:
    from ecdd.detector import Detector
    from ecdd.parity.device_dump import Platform, write_flat
    from ecdd.parity.device_reference import make_dump

    if name:
        DEFECTS[name].plant()
    platform = Platform(name=name or "right", kind="device")
    *_, (_, dump) = make_dump(Detector.load(bundle), items, platform, pixels=True)
    write_flat(out, dump)
