"""From what a user names (two files, pictures, a contract) to a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecdd.bundle.loading import load_bundle
from ecdd.bundle.variants import modes
from ecdd.contract.loading import load_contract
from ecdd.inference.calibration import AppliedCalibration
from ecdd.parity.found_layout import TensorNames
from ecdd.parity.layer_bisecting import compare_layers
from ecdd.parity.layer_outputs import computes_in_integers, watch
from ecdd.parity.pair_comparison import ComparedSide, compare_pair
from ecdd.parity.parity_metric import ParityError, ParityLimits
from ecdd.parity.parity_report import ParityReport
from ecdd.parity.pictures import GOLDEN, InputRule, PicturePipeline, find_pictures, with_normalisation
from ecdd.parity.runtime_pair import Side, SideCalibration, calibration_for, mode_of, open_side
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.registry import RuntimeSettings

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.schema import PolicyContract
    from ecdd.parity.layer_bisecting import LayerComparison
    from ecdd.parity.pair_comparison import PairParity

Colour = tuple[float, float, float]
Watcher = Callable[[Iterable[tuple[str, Path]], int], Iterable[tuple[str, Path]]]


@dataclass(frozen=True)
class PixelOptions:
    """Input of a model that is not the contract's; None where the contract's value holds.

    Attributes
    ----------
    size : (int, int) or None
        Height and width, px; where the files state them they must agree.
    scale : float or None
        Factor from level to unit range.
    mean, std : (float, float, float) or None
        RGB, in unit range.
    whole_picture : bool
        The middle of each picture in place of faces.
    """

    size: tuple[int, int] | None = None
    scale: float | None = None
    mean: Colour | None = None
    std: Colour | None = None
    whole_picture: bool = False


@dataclass(frozen=True)
class CalibrationOptions:
    """Calibration of files that have none of their own; the same for both sides."""

    temperature: float | None = None
    bias: float | None = None
    t_real: float | None = None
    t_fake: float | None = None

    def calibration(self) -> SideCalibration | None:
        """What was given; None where nothing was.

        Raises
        ------
        ParityError
            For a bias or thresholds without a temperature, one threshold without the other, or a wrong number.
        """
        given = (self.temperature, self.bias, self.t_real, self.t_fake)
        if all(one is None for one in given):
            return None
        if self.temperature is None or not 0 < self.temperature < float("inf"):
            raise ParityError(f"--temperature is {self.temperature}; a number above 0 is needed with the other values")
        if (self.t_real is None) != (self.t_fake is None):
            raise ParityError("--t-real and --t-fake belong together")
        band = None if self.t_real is None or self.t_fake is None else (self.t_real, self.t_fake)
        return SideCalibration(AppliedCalibration(self.temperature, self.bias or 0.0), band, "given by hand")


@dataclass(frozen=True)
class ParityRequest:
    """What to compare, and on what.

    Attributes
    ----------
    reference, candidate : str
        As `runtime_pair.open_side` takes them.
    data : str
        As `pictures.find_pictures` takes it.
    most : int or None
        At most so many pictures.
    contract, bundle : Path or None
        Pixels, gates, pooling and limits; calibration. A side that is a bundle has its own of both.
    limits : {"quantised", "exact"}
        Which of the contract's limits hold.
    layers : bool
        Whether to compare layer by layer too.
    """

    reference: str
    candidate: str
    data: str = GOLDEN
    most: int | None = None
    contract: Path | None = None
    bundle: Path | None = None
    limits: Literal["quantised", "exact"] = "quantised"
    layers: bool = False
    names: tuple[TensorNames, TensorNames] = (TensorNames(), TensorNames())
    pixels: PixelOptions = PixelOptions()
    calibration: CalibrationOptions = CalibrationOptions()
    settings: RuntimeSettings = field(default_factory=RuntimeSettings)


def run_parity(request: ParityRequest, watched: Watcher = lambda rows, _: rows) -> ParityReport:
    """Open both files, send the pictures through both, and compare.

    Parameters
    ----------
    request : ParityRequest
        What was asked for.
    watched : callable
        Given pictures and their number; yields them while it shows how far it is.

    Returns
    -------
    ParityReport
        With the verdict.

    Raises
    ------
    ParityError, RuntimeFileError, BundleError, ContractError, GoldenError, ManifestError, DetectorError
        If a file, a bundle, the contract, the pictures or the options are not what is needed, or cannot be compared.
    """
    pictures = find_pictures(request.data, request.most)
    sides = tuple(
        open_side(spec, names, request.settings, _declared(request))
        for spec, names in zip((request.reference, request.candidate), request.names, strict=True)
    )
    bundle = None if request.bundle is None else load_bundle(request.bundle)
    contracts = tuple(_contract(side, request, bundle) for side in sides)
    size = _size(sides, request.pixels.size, contracts[0])
    rules = [InputRule(contract, size, request.pixels.whole_picture) for contract in contracts]
    calibrations = _calibrations(sides, bundle, request.calibration)
    compared = [
        ComparedSide(side, PicturePipeline(rule), calibration)
        for side, rule, calibration in zip(sides, rules, calibrations, strict=True)
    ]
    policy = contracts[0].policy
    if request.limits == "exact":
        limits = ParityLimits.exact(policy)
    else:
        limits = ParityLimits.quantised(policy, integers=computes_in_integers(compared[1].side))
    parity = compare_pair(compared[0], compared[1], watched(pictures, len(pictures)), policy.pooling, limits)
    layers = _layers(compared, parity, _budget(request, policy), request.settings) if request.layers else None
    return ParityReport(compared[0], compared[1], request.data, parity, layers)


def _declared(request: ParityRequest) -> PolicyContract | None:
    """The named contract, where it says itself what the files' inputs and outputs are."""
    if request.contract is None:
        return None
    loaded = load_contract(request.contract)
    return None if "model_interface.output_kind" in loaded.filled_in else loaded.policy


def _contract(side: Side, request: ParityRequest, bundle: Bundle | None) -> LoadedContract:
    """The named contract; else the side's own, the bundle's, or the default one."""
    if request.contract is not None:
        own = load_contract(request.contract)
    else:
        own = side.contract or (load_contract() if bundle is None else bundle.contract)
    return with_normalisation(own, request.pixels.scale, request.pixels.mean, request.pixels.std)


def _size(sides: tuple[Side, ...], given: tuple[int, int] | None, contract: LoadedContract) -> tuple[int, int]:
    """The size that both files state, what was given where they state none, else the contract's."""
    side = contract.policy.pixel_pipeline.input_size
    known = [(one.file, one.size) for one in sides if one.size is not None]
    wanted = given or (known[0][1] if known else (side, side))
    for file, size in known:
        if size != wanted:
            origin = "--input-size" if given else sides[0].file
            expected = f"pictures of height {wanted[0]} and width {wanted[1]} ({origin})"
            raise RuntimeFileError(file, expected, f"height {size[0]} and width {size[1]}")
    return wanted


def _calibrations(
    sides: tuple[Side, ...], bundle: Bundle | None, given: CalibrationOptions
) -> list[SideCalibration | None]:
    """Each side's own calibration; where a side has none, the given one, or the bundle's for both.

    A calibration belongs to the model that it was fitted on. A file of the bundle, known by its digest, gets its own;
    another file is measured under the reference's, as if it took that one's place, and the report says so.
    """
    by_hand = given.calibration()
    if by_hand is not None:
        return [by_hand for _ in sides]
    own = [side.calibration or (None if bundle is None else _fitted_on(side, bundle)) for side in sides]
    if bundle is not None and own[0] is None:
        own[0] = calibration_for(bundle, modes(bundle)[0], "not fitted on this file")
    if own[0] is not None and own[1] is None:
        own[1] = SideCalibration(own[0].applied, own[0].band, f"the reference's ({own[0].origin}), not its own")
    return own if own[0] is not None else [None for _ in sides]


def _fitted_on(side: Side, bundle: Bundle) -> SideCalibration | None:
    """The calibration that the bundle has for this very file, known by its digest."""
    for file, entry in bundle.manifest.files.items():
        if entry.sha256 == side.sha256 and (mode := mode_of(bundle, file)) is not None:
            return calibration_for(bundle, mode, f"of {file}, which is this file")
    return None


def _budget(request: ParityRequest, policy: PolicyContract) -> float:
    """Of every layer; a layer is held to what the map is held to, integers or not."""
    return policy.patch_grid.tolerance_s5 if request.limits == "exact" else policy.quantization.max_patch_difference


def _layers(
    compared: list[ComparedSide], parity: PairParity, budget: float, settings: RuntimeSettings
) -> LayerComparison:
    """On the worst sample and the first few."""
    samples = {sample.name: sample for sample in (parity.worst, *parity.first)}
    graphs = [watch(one.side, settings) for one in compared]
    return compare_layers(graphs[0], graphs[1], [sample.s4 for sample in samples.values()], budget)
