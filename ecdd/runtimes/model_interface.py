"""What a caller needs of a model file's inputs and outputs, and the check that a file has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from ecdd.contract.interface_section import CLASS_KINDS
from ecdd.runtimes.base import INPUT_NAME, MAP_NAME, POOLED_NAME, ModelOutputs, RuntimeFileError
from ecdd.runtimes.integer_io import INTEGERS, AffineQuantisation
from ecdd.runtimes.output_meaning import as_logits, numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecdd.contract.interface_section import FileKind, OutputKind
    from ecdd.contract.schema import PolicyContract

OPEN: Final = -1  # a dimension that the file leaves open
_LEVELS: Final = AffineQuantisation("uint8", 1.0, 0)  # an input of levels as they are


@dataclass(frozen=True)
class TensorFacts:
    """One input or output of a file.

    Attributes
    ----------
    name, dtype : str
        As the file has them.
    shape : tuple of int
        `OPEN` where any number will do.
    quantisation : AffineQuantisation or None
        None of a float tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantisation: AffineQuantisation | None = None

    def holds(self, shape: tuple[int, ...], pictures: int) -> bool:
        """Whether an array of a shape is this tensor for so many pictures; a file can state another one."""
        sides = (pictures, *self.shape[1:])
        return len(shape) == len(sides) and all(want in {OPEN, have} for want, have in zip(sides, shape, strict=True))

    def __str__(self) -> str:
        sides = ", ".join("any" if side == OPEN else str(side) for side in self.shape)
        return f"{self.name} {self.dtype} ({sides})" + (f" {self.quantisation}" if self.quantisation else "")


class Chosen(NamedTuple):
    """Tensors of a file by what they are for: the picture, the map, the output that decides or pools."""

    image: TensorFacts
    patch_map: TensorFacts | None
    logit: TensorFacts | None


@dataclass(frozen=True)
class ModelInterface:
    """The inputs and outputs that a file must have, and what they mean.

    Attributes
    ----------
    side, rows, cols : int or None
        Of the input, px, and of the map, cells; None where any will do.
    input_name, map_name, pooled_name : str
        Names; an empty map_name where there is no map. Of patch logits the pooled output may be missing.
    layout, channels : str
        Of the file's picture: where the colours lie and their order.
    dtype, batch : str
        ``any``: what the file states.
    kind : OutputKind
        What decides.
    classes, fake : int
        Number of classes and place of fake among them; one number speaks for the second of two.
    clip : float
        Of probabilities.
    ignored : tuple of str
        Outputs that may be there beside them.
    levels : bool
        Whether S4 holds levels 0 to 255 as they are: an integer input without a scale then takes them.
    """

    side: int | None = None
    rows: int | None = None
    cols: int | None = None
    input_name: str = INPUT_NAME
    map_name: str = MAP_NAME
    pooled_name: str = POOLED_NAME
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    channels: Literal["RGB", "BGR"] = "RGB"
    dtype: str = "any"
    batch: str = "any"
    kind: OutputKind = "patch_logits"
    classes: int = 0
    fake: int = 0
    clip: float = 1e-6
    ignored: tuple[str, ...] = ()
    levels: bool = False

    @property
    def speaks_for_real(self) -> bool:
        """Whether larger means real: one number, of two classes, and fake is the first."""
        return self.kind not in CLASS_KINDS and self.classes == 2 and self.fake == 0

    @property
    def ignored_by_contract(self) -> tuple[str, ...]:
        """Outputs that a contract says decide nothing; what was only found is not ignored."""
        return self.ignored

    @classmethod
    def of(cls, policy: PolicyContract, file: FileKind) -> ModelInterface:
        """What a contract says of one of its two files."""
        said, pixels, grid = policy.model_interface, policy.pixel_pipeline, policy.patch_grid
        plain = (pixels.pixel_scale, *pixels.normalisation_mean, *pixels.normalisation_std) == (1, 0, 0, 0, 1, 1, 1)
        return cls(
            side=pixels.input_size,
            rows=grid.rows,
            cols=grid.cols,
            input_name=said.input_name[file],
            map_name=said.map_name[file],
            pooled_name=said.logit_name[file],
            layout=said.input_layout[file],
            channels=said.input_channels,
            dtype=said.input_dtype[file],
            batch=said.batch[file],
            kind=said.output_kind,
            classes=len(said.class_names),
            fake=said.fake_index,
            clip=said.probability_clip,
            ignored=tuple(said.ignored_outputs[file]),
            levels=plain,
        )

    def select(self, file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> Chosen:
        """Find picture, map and logit among a file's inputs and outputs, by name.

        Parameters
        ----------
        file : str
            For the message.
        inputs, outputs : sequence of TensorFacts
            All of the file.

        Returns
        -------
        Chosen
            The picture with the quantisation that applies.

        Raises
        ------
        RuntimeFileError
            For another number, name, shape, dtype or quantisation; everything that does not fit is in one message.
        """
        problems = [*self._input_problems(inputs), *self._output_problems(outputs)]
        if not problems:
            problems = [
                (f"{tensor.name} with one scale above 0 and a zero point of its dtype", f"{problem}; quantise it again")
                for tensor in (*inputs, *outputs)
                if (problem := self._quantisation_problem(tensor, picture=tensor in inputs))
            ]
        if problems:
            wanted, found = zip(*problems, strict=True)
            raise RuntimeFileError(file, "; and ".join(wanted), "; and ".join(found))
        image, places = inputs[0], {tensor.name: tensor for tensor in outputs}
        if image.dtype in INTEGERS and image.quantisation is None:
            image = replace(image, quantisation=_LEVELS)
        return Chosen(image, places.get(self.map_name), places.get(self.pooled_name))

    def native(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring S4, shape (N, H, W, 3), to the file's own layout and order of colours."""
        turned = batch[..., ::-1] if self.channels == "BGR" else batch
        return np.ascontiguousarray(turned.transpose(0, 3, 1, 2) if self.layout == "NCHW" else turned)

    def answer(self, file: str, chosen: Chosen, found: Mapping[str, NDArray[np.float32]]) -> ModelOutputs:
        """Turn a file's outputs into maps and logits.

        Parameters
        ----------
        file : str
            For messages.
        chosen : Chosen
            What `select` gave.
        found : mapping of str to ndarray, float32
            By name, the batch first.

        Returns
        -------
        ModelOutputs
            Larger means fake, whatever the file's numbers speak for. Where there is no map, the logit is a map of one
            cell.

        Raises
        ------
        RuntimeFileError
            If declared probabilities are none.
        """
        logit = None
        if chosen.logit is not None:
            name = chosen.logit.name
            logit = as_logits(file, name, found[name], self.kind, self.fake, self.clip)
            logit = -logit if self.speaks_for_real else logit
        if chosen.patch_map is None:
            assert logit is not None, "a file without map and logit is refused when it is opened"
            return ModelOutputs(logit.reshape(-1, 1, 1), logit)
        maps = found[chosen.patch_map.name]
        if maps.ndim == 4:
            maps = maps[:, 0] if chosen.patch_map.shape[1] == 1 else maps[..., 0]
        return ModelOutputs(np.ascontiguousarray(-maps if self.speaks_for_real else maps), logit)

    def _input_problems(self, inputs: Sequence[TensorFacts]) -> list[tuple[str, str]]:
        side = _shown(self.side, "S")
        shape = f"(N, {side}, {side}, 3)" if self.layout == "NHWC" else f"(N, 3, {side}, {side})"
        dtypes = ["float32", *INTEGERS] if self.dtype == "any" else [self.dtype]
        wanted = (
            f"one input {self.input_name} of {' or '.join([', '.join(dtypes[:-1]), dtypes[-1]][len(dtypes) < 2 :])}"
        )
        wanted += f" {shape}" + {"one": ", N fixed to 1", "free": ", N free"}.get(self.batch, "")
        sides = (None, self.side, self.side, 3) if self.layout == "NHWC" else (None, 3, self.side, self.side)
        fits = len(inputs) == 1 and inputs[0].name == self.input_name and inputs[0].dtype in dtypes
        if fits and _fits(inputs[0], sides) and self.batch in {"any", "one" if inputs[0].shape[0] == 1 else "free"}:
            return []
        return [(wanted, _listed(inputs) + _advice(inputs))]

    def _output_problems(self, outputs: Sequence[TensorFacts]) -> list[tuple[str, str]]:
        grid = f"(N, {_shown(self.rows, 'rows')}, {_shown(self.cols, 'cols')})"
        numbers = numbers_of(self.kind, self.classes)
        single = "(N,)" if numbers == 1 else f"(N, {numbers})"
        optional = self.kind == "patch_logits"
        parts = [f"{self.map_name} {grid}"] if self.map_name else []
        parts += [f"if it is there, {self.pooled_name} {single}" if optional else f"{self.pooled_name} {single}"]
        wanted = "outputs " + " and, ".join(parts) if optional else f"outputs {' and '.join(parts)}"
        wanted += f", beside {', '.join(self.ignored)}" if self.ignored else ""
        names = [tensor.name for tensor in outputs]
        needed = {self.map_name} - {""} | (set() if optional else {self.pooled_name})
        known = {self.map_name, self.pooled_name, *self.ignored}
        fits = len(set(names)) == len(names) and needed <= set(names) <= known
        if fits and all(self._fits(tensor, numbers) for tensor in outputs):
            return []
        more = sorted(set(names) - known)
        advice = f"; name what decides nothing in model_interface.ignored_outputs: {', '.join(more)}" if more else ""
        if not needed <= set(names):
            advice = "; name what is there in model_interface.logit_name and map_name, or export it so"
        return [(wanted, _listed(outputs) + advice)]

    def _fits(self, tensor: TensorFacts, numbers: int) -> bool:
        if tensor.name == self.map_name:
            plain = (None, self.rows, self.cols)
            return any(_fits(tensor, one) for one in (plain, (*plain, 1), (None, 1, self.rows, self.cols)))
        if tensor.name == self.pooled_name:
            shapes = [
                (None, numbers),
                (None, numbers, 1, 1),
                (None, 1, 1, numbers),
                (None, 1, numbers),
                (None, numbers, 1),
            ]
            return any(_fits(tensor, one) for one in (shapes if numbers > 1 else [*shapes, (None,)]))
        return True

    def _quantisation_problem(self, tensor: TensorFacts, *, picture: bool) -> str | None:
        if tensor.dtype not in INTEGERS or tensor.name in self.ignored:
            return None
        if tensor.quantisation is not None:
            return tensor.quantisation.problem()
        return None if picture and tensor.dtype == "uint8" and self.levels else "no scale"


def numbers_of_a_picture(tensor: TensorFacts) -> int:
    """How many numbers an output gives for one picture; 0 where it is more than a row of them, or not stated."""
    long = [side for side in tensor.shape[1:] if side != 1]
    if len(long) > 1 or OPEN in long or not tensor.shape:
        return 0
    return prod(long)


def check_batch(batch: NDArray[Any], needed: TensorFacts) -> None:
    """Refuse a batch that a runtime would convert or misread.

    Parameters
    ----------
    batch : ndarray
        In the file's own layout.
    needed : TensorFacts
        The file's input.

    Raises
    ------
    ValueError
        For another dtype or shape, or an empty batch.
    """
    if batch.dtype != np.float32 or not batch.ndim or not len(batch) or not needed.holds(batch.shape, len(batch)):
        msg = f"the batch is {batch.dtype} {batch.shape}, needed is float32 for {needed}, one picture or more"
        raise ValueError(msg)


def check_answer(file: str, stated: TensorFacts, tensor: NDArray[Any], pictures: int) -> None:
    """Refuse an output of another shape than the file states; libraries take that statement on trust.

    Raises
    ------
    RuntimeFileError
        Naming both shapes.
    """
    if not stated.holds(tensor.shape, pictures):
        raise RuntimeFileError(file, f"for {pictures} pictures {stated}", f"shape {tensor.shape}")


def _fits(tensor: TensorFacts, sides: tuple[int | None, ...]) -> bool:
    """Whether shape and dtype are as needed; a fixed batch can only be 1, which is then computed one by one."""
    if len(tensor.shape) != len(sides) or tensor.dtype not in {"float32", *INTEGERS}:
        return False
    batch = tensor.shape[0] in {OPEN, 1}
    return batch and all(want is None or have in {OPEN, want} for want, have in zip(sides, tensor.shape, strict=True))


def _advice(inputs: Sequence[TensorFacts]) -> str:
    """What to do about an input that no contract can describe."""
    if len(inputs) != 1:
        return "; export the model with the picture as its only input"
    shape = inputs[0].shape
    if len(shape) != 4:
        return f"; {len(shape)} dimensions, and a picture has 4: export the model for single pictures"
    if shape[0] not in {OPEN, 1}:
        return f"; a batch fixed to {shape[0]}: export it free or fixed to 1"
    return ""


def _shown(value: int | None, word: str) -> str:
    return word if value is None else str(value)


def _listed(tensors: Sequence[TensorFacts]) -> str:
    return "; ".join(str(tensor) for tensor in tensors) or "none"
