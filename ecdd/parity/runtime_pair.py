"""Opening the two sides of a comparison: ``onnx:PATH``, ``tflite:PATH``, ``torch:PATH`` or ``bundle:PATH[:WHAT]``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import calibration_of, modes, place
from ecdd.inference.calibration import AppliedCalibration
from ecdd.parity.found_layout import FoundInterface, TensorNames
from ecdd.parity.parity_metric import ParityError
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.model_file import read_model
from ecdd.runtimes.model_interface import OPEN, ModelInterface
from ecdd.runtimes.registry import RUNTIMES, Model, RuntimeName, RuntimeSettings, interface_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecdd.bundle.loading import Bundle
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.schema import PolicyContract
    from ecdd.parity.float_vs_tflite import Band
    from ecdd.runtimes.base import PatchRuntime


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
    kind : str
        Key of `ecdd.runtimes.registry.RUNTIMES`.
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
    kind: RuntimeName
    file: str
    content: bytes
    runtime: PatchRuntime
    size: tuple[int, int] | None
    pools: bool
    calibration: SideCalibration | None = None
    contract: LoadedContract | None = None

    def native(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        """Bring a batch (N, H, W, 3) to the file's own layout and dtype."""
        turned, quantisation = self.runtime.interface.native(batch), self.runtime.chosen.image.quantisation
        return turned if quantisation is None else quantisation.quantise(turned)

    @property
    def sha256(self) -> str:
        """Digest of the model file."""
        return hashlib.sha256(self.content).hexdigest()


def open_side(spec: str, names: TensorNames, settings: RuntimeSettings, declared: PolicyContract | None = None) -> Side:
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
    declared : PolicyContract, optional
        Says what a file's inputs and outputs are; a bundle's own contract says it of its files.

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
    if kind not in RUNTIMES or not place_of:
        msg = f"{spec}: {', '.join(f'{one}:PATH' for one in RUNTIMES)} or bundle:PATH[:WHAT] is needed"
        raise ParityError(msg)
    path_of = Path(place_of)
    if path_of.is_dir():
        raise RuntimeFileError(place_of, "a model file", "a folder")
    file, content = read_model(path_of, spec)
    name = cast("RuntimeName", kind)
    interface = FoundInterface(names=names) if declared is None else interface_of(declared, name)
    return _open(spec, name, Model(content, file, "elsewhere"), interface, settings)


def side_of_content(content: bytes, kind: RuntimeName, name: str, settings: RuntimeSettings | None = None) -> Side:
    """Open content that this process made or verified; raises as `open_side`."""
    return _open(name, kind, Model(content, name, "here"), FoundInterface(), settings or RuntimeSettings())


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
    if file in {kind.file for kind in RUNTIMES.values()} - {MODEL_FILE}:
        return "float32" if "float32" in held else held[0]
    return next((mode for mode in held if place(bundle, mode, MODEL_FILE) == file), None)


def _of_bundle(spec: str, bundle: Bundle, what: str, settings: RuntimeSettings) -> Side:
    held = modes(bundle)
    mode = what if what in held else held[0]
    kind: RuntimeName = "tflite" if what in held else cast("RuntimeName", what)
    if kind not in RUNTIMES:
        has = f"{', '.join(RUNTIMES)} and the modes {', '.join(held)}"
        msg = f"{spec}: {what} is no part of this bundle; it has {has}"
        raise ParityError(msg)
    file = place(bundle, mode, MODEL_FILE) if kind == "tflite" else RUNTIMES[kind].file
    model = Model(bundle.read(file), str(bundle.path / file), "bundle")
    opened = _open(spec, kind, model, interface_of(bundle.contract.policy, kind), settings)
    calibration = calibration_for(bundle, mode_of(bundle, file) or mode, "its own model")
    about = {"calibration": calibration, "contract": bundle.contract}
    return Side(**{**vars(opened), **about})


def _open(spec: str, kind: RuntimeName, model: Model, interface: ModelInterface, settings: RuntimeSettings) -> Side:
    runtime = RUNTIMES[kind].open(model, interface, settings)
    sides = runtime.chosen.image.shape[1:]
    height, width = sides[-2:] if sides[0] == 3 else sides[:2]
    size = None if OPEN in {height, width} else (height, width)
    return Side(spec, kind, model.name, model.content, runtime, size, runtime.chosen.logit is not None)
