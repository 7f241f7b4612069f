"""What a team says of its pair of model files, and what is known once both are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ecdd.contract.interface_section import OutputKind
from ecdd.errors import ListedError

if TYPE_CHECKING:
    from ecdd.contract.model_sections import PoolingRule
    from ecdd.contract.yaml_reading import Value

# name -> (factor on a level, mean, standard deviation)
SCALINGS: Final[dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]]] = {
    "-1..1": (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..255": (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


class OnboardingError(ListedError):
    """What the files do not say and nobody has said, one entry a line, each with an example.

    Parameters
    ----------
    problems : list of str
        What has to be said.
    found : sequence of str
        What was found and inferred all the same.
    """

    def __init__(self, problems: list[str], found: Sequence[str] = ()) -> None:
        super().__init__(problems)
        self.found = tuple(found)


@dataclass(frozen=True)
class Said:
    """What only the team knows; None or empty where it is not said.

    Attributes
    ----------
    scaling : str
        A key of `SCALINGS`.
    crop_margin : float
        Side of the crop / longer side of the face box.
    kind : OutputKind
        What the deciding output is.
    fake_index : int
        Place of fake among the classes; one number speaks for the second of two, so 0 says that larger means real.
    outputs, maps : sequence of str
        Name of the deciding output and of the map: one for both files, or TFLite's and ONNX's.
    channels : {"RGB", "BGR"}
        In which order the model reads colours.
    method : str or None
        ``calibration.method``; the logits decide it where nobody does.
    pooling : PoolingRule
        How a map that decides becomes one logit.
    geometry : tuple of int
        Stride, receptive field and padding of the map, px; without it every cell may see the whole picture.
    wrong : tuple of str
        What was said and cannot be, one line each; refused together with what is missing.
    """

    scaling: str | None = None
    crop_margin: float | None = None
    kind: OutputKind | None = None
    fake_index: int | None = None
    outputs: Sequence[str] = ()
    maps: Sequence[str] = ()
    channels: Literal["RGB", "BGR"] = "RGB"
    method: str | None = None
    pooling: PoolingRule | None = None
    geometry: tuple[int, int, int] | None = None
    wrong: tuple[str, ...] = ()


@dataclass
class Answers:
    """What was inferred, and what is missing.

    Attributes
    ----------
    values : dict
        Contract values by dotted key.
    notes, missing : list of str
        What was found, and what has to be said or corrected.
    """

    values: dict[str, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
