"""The runtimes: which file of a bundle each computes, and how it is opened; its library is imported only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ecdd.bundle.manifest import MODEL_FILE, WEIGHTS_FILE
from ecdd.runtimes.model_interface import ModelInterface

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.contract.schema import PolicyContract
    from ecdd.runtimes.base import PatchRuntime

RuntimeName = Literal["tflite", "onnx", "torch"]


@dataclass(frozen=True)
class RuntimeSettings:
    """Threads of every library, and whether XNNPACK computes in TFLite."""

    threads: int = 1
    xnnpack: bool = True


@dataclass(frozen=True)
class Model:
    """A model file that was read.

    Attributes
    ----------
    content : bytes
        All of it.
    name : str
        For messages.
    origin : {"bundle", "here", "elsewhere"}
        Verified by a bundle's digest; made by this process; or of unknown hands, so that it is first tried where it
        can do no harm.
    """

    content: bytes
    name: str
    origin: Literal["bundle", "here", "elsewhere"]


Opener = Callable[[Model, ModelInterface, RuntimeSettings], "PatchRuntime"]


def _tflite(model: Model, interface: ModelInterface, settings: RuntimeSettings) -> PatchRuntime:
    from ecdd.runtimes.tflite import TFLiteRuntime

    return TFLiteRuntime(
        model.content,
        threads=settings.threads,
        xnnpack=settings.xnnpack,
        interface=interface,
        name=model.name,
        verified=model.origin == "bundle",
        foreign=model.origin == "elsewhere",
    )


def _onnx(model: Model, interface: ModelInterface, settings: RuntimeSettings) -> PatchRuntime:
    from ecdd.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(model.content, threads=settings.threads, interface=interface, name=model.name)


def _torch(model: Model, interface: ModelInterface, settings: RuntimeSettings) -> PatchRuntime:
    from ecdd.runtimes.torch import TorchRuntime

    return TorchRuntime(model.content, threads=settings.threads, interface=interface, name=model.name)


@dataclass(frozen=True)
class RuntimeKind:
    """One inference library: the file of a bundle that it computes, and how a file is opened in it."""

    file: str
    open: Opener


RUNTIMES: Final[Mapping[RuntimeName, RuntimeKind]] = {
    "onnx": RuntimeKind("model.onnx", _onnx),
    "tflite": RuntimeKind(MODEL_FILE, _tflite),
    "torch": RuntimeKind(WEIGHTS_FILE, _torch),
}


def interface_of(policy: PolicyContract, name: RuntimeName) -> ModelInterface:
    """What a contract says of the file that a runtime opens; weights of this project always have its own interface."""
    if name == "torch":
        return ModelInterface(policy.pixel_pipeline.input_size, policy.patch_grid.rows, policy.patch_grid.cols)
    return ModelInterface.of(policy, name)


def load_runtime(
    bundle: Bundle, name: RuntimeName, threads: int, *, xnnpack: bool = True, file: str | None = None
) -> PatchRuntime:
    """Load a bundle's model in one of the runtimes.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    name : str
        A key of `RUNTIMES`.
    threads : int
        Threads of the library.
    xnnpack : bool
        Only for TFLite.
    file : str, optional
        Another file of the bundle for this runtime, such as a variant's; its main one by default.

    Returns
    -------
    PatchRuntime
        Ready to compute.

    Raises
    ------
    BundleError
        The bundle has no such file, or it changed since the bundle was loaded.
    RuntimeFileError
        Its inputs or outputs are not those of the bundle's contract.
    """
    kind = RUNTIMES[name]
    interface = interface_of(bundle.contract.policy, name)
    model = Model(bundle.read(file or kind.file), str(bundle.path / (file or kind.file)), "bundle")
    return kind.open(model, interface, RuntimeSettings(threads, xnnpack))
