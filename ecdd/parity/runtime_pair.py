"""Opening the two sides of a comparison: ``onnx:PATH``, ``tflite:PATH``, ``torch:PATH`` or ``bundle:PATH[:WHAT]``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import MODEL_FILE, WEIGHTS_FILE
from ecdd.bundle.variants import calibration_of, modes, place
from ecdd.inference.calibration import AppliedCalibration
from ecdd.parity.found_layout import FoundInterface, LaidOutRuntime, TensorNames
from ecdd.parity.parity_metric import ParityError
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.model_file import read_model
from ecdd.runtimes.model_interface import OPEN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecdd.bundle.loading import Bundle
    from ecdd.contract.loading import LoadedContract
    from ecdd.parity.float_vs_tflite import Band
    from ecdd.runtimes.base import PatchRuntime

Kind = Literal["onnx", "tflite", "torch"]
KINDS: Final[tuple[Kind, ...]] = ("onnx", "tflite", "torch")
_FILES: Final = {"onnx": "model.onnx", "torch": WEIGHTS_FILE}


@dataclass(frozen=True)
class SideCalibration:
    """From pooled logit to probability and decision.

    Attributes
    ----------
    applied : AppliedCalibration
        Pooled logit to calibrated logit.
    band : (t_real, t_fake) or None
        None where no thresholds are known: nothing is then decided.
    origin : str
        Where it comes from, in words.
    """

    applied: AppliedCalibration
    band: Band | None
    origin: str


@dataclass(frozen=True, eq=False)
class Side:
    """One file, opened.

    Attributes
    ----------
    spec : str
        As the caller wrote it.
    kind : {"onnx", "tflite", "torch"}
        Library.
    file : str
        For messages.
    content : bytes
        The model file.
    runtime : PatchRuntime
        Takes pictures NHWC, whatever the file's own layout.
    size : (int, int) or None
        Height and width of the input, px; None where the file takes any.
    pools : bool
        Whether the file gives a pooled logit.
    calibration : SideCalibration or None
        Of a bundle's model; None for a file alone.
    contract : LoadedContract or None
        Of a bundle.
    """

    spec: str
    kind: Kind
    file: str
    content: bytes
    runtime: PatchRuntime
    size: tuple[int, int] | None
    pools: bool
    calibration: SideCalibration | None = None
    contract: LoadedContract | None = None

    def native(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a batch (N, H, W, 3) to the file's own layout."""
        return self.runtime.native(batch) if isinstance(self.runtime, LaidOutRuntime) else batch

    @property
    def sha256(self) -> str:
        """Digest of the model file."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class RuntimeSettings:
    """Threads of every library, and whether XNNPACK computes in TFLite."""

    threads: int = 1
    xnnpack: bool = True


def open_side(spec: str, names: TensorNames, settings: RuntimeSettings) -> Side:
    """Open one side.

    Parameters
    ----------
    spec : str
        ``onnx:PATH``, ``tflite:PATH``, ``torch:PATH`` (weights.safetensors of this project), ``bundle:PATH``, or
        ``bundle:PATH:WHAT`` with WHAT one of ``tflite``, ``onnx``, ``torch`` or a mode that the bundle carries. An
        empty PATH is the default bundle.
    names : TensorNames
        Names of picture, map and pooled logit, where the shapes alone do not tell.
    settings : RuntimeSettings
        Threads and delegate.

    Returns
    -------
    Side
        Ready to compute.

    Raises
    ------
    ParityError
        If the spec is none of these.
    RuntimeFileError
        If the file is damaged, of another kind, or its picture or map cannot be told.
    BundleError
        If the bundle is not to be trusted, or does not hold what is asked for.
    """
    kind, _, place_of = spec.partition(":")
    if kind == "bundle":
        path, _, what = place_of.rpartition(":") if ":" in place_of else (place_of, "", "tflite")
        return _of_bundle(spec, load_bundle(path or None), what, settings)
    if kind not in KINDS or not place_of:
        msg = f"{spec}: onnx:PATH, tflite:PATH, torch:PATH or bundle:PATH[:WHAT] is needed"
        raise ParityError(msg)
    path_of = Path(place_of)
    if path_of.is_dir():
        raise RuntimeFileError(place_of, "a model file", "a folder")
    return _open(spec, kind, path_of, names, settings)


def side_of_content(content: bytes, kind: Kind, name: str, settings: RuntimeSettings | None = None) -> Side:
    """Open content that this process made or verified; raises as `open_side`."""
    return _open(name, kind, content, TensorNames(), settings or RuntimeSettings())


def calibration_for(bundle: Bundle, mode: str, note: str) -> SideCalibration:
    """Calibration and thresholds that a bundle has for one of its modes.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    mode : str
        One that it holds.
    note : str
        How the calibration stands to the file that it is applied to.

    Returns
    -------
    SideCalibration
        Its origin names bundle and mode.
    """
    record = calibration_of(bundle, mode)
    band = (record.thresholds.t_real, record.thresholds.t_fake)
    origin = f"bundle {bundle.payload_digest[:12]}, {mode}, {note}"
    return SideCalibration(AppliedCalibration.of(record), band, origin)


def mode_of(bundle: Bundle, file: str) -> str | None:
    """The mode whose calibration belongs to a file of a bundle; None for a file that is no model.

    ``model.onnx`` and the weights are the float model: the calibration of float32, where the bundle holds that mode.
    """
    held = modes(bundle)
    if file in _FILES.values():
        return "float32" if "float32" in held else held[0]
    return next((mode for mode in held if place(bundle, mode, MODEL_FILE) == file), None)


def _of_bundle(spec: str, bundle: Bundle, what: str, settings: RuntimeSettings) -> Side:
    held = modes(bundle)
    mode = what if what in held else held[0]
    if what in _FILES:
        file = _FILES[what]
    elif what == "tflite" or what in held:
        file = place(bundle, mode, MODEL_FILE)
    else:
        msg = f"{spec}: {what} is no part of this bundle; it has tflite, onnx, torch and the modes {', '.join(held)}"
        raise ParityError(msg)
    kind: Kind = cast("Kind", what) if what in _FILES else "tflite"
    opened = _open(spec, kind, bundle.read(file), TensorNames(), settings, name=str(bundle.path / file))
    calibration = calibration_for(bundle, mode_of(bundle, file) or mode, "its own model")
    about = {"calibration": calibration, "contract": bundle.contract}
    return Side(**{**vars(opened), **about})


def _open(
    spec: str, kind: Kind, model: Path | bytes, names: TensorNames, settings: RuntimeSettings, *, name: str = ""
) -> Side:
    file, content = read_model(model, name or spec)
    if kind == "torch":
        from ecdd.runtimes.torch import TorchRuntime

        runtime = TorchRuntime(content, threads=settings.threads, name=file)
        return Side(spec, kind, file, content, runtime, None, pools=False)
    interface = FoundInterface(names=names)
    opened: PatchRuntime
    if kind == "onnx":
        from ecdd.runtimes.onnx import OnnxRuntime

        opened = OnnxRuntime(content, threads=settings.threads, interface=interface, name=file)
    else:
        from ecdd.runtimes.tflite import TFLiteRuntime

        # by path, so that a file from elsewhere is first run where it can do no harm
        opened = TFLiteRuntime(
            model, threads=settings.threads, xnnpack=settings.xnnpack, interface=interface, name=file
        )
    (layout,) = interface.found
    size = None if OPEN in {layout.height, layout.width} else (layout.height, layout.width)
    return Side(spec, kind, file, content, LaidOutRuntime(opened, layout), size, layout.pooled is not None)
