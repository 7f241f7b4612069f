"""Twins of real faces: the same face through the tiny autoencoder of a latent-diffusion model, whole or in part.

What a latent-diffusion generator leaves in a picture comes from its decoder; a real face that went through it shares
everything else with its original (arXiv 2410.11835, 2505.14359, 2601.20461). A reconstruction also restores what JPEG
took away, so original and twin are reduced and encoded alike afterwards. The weights are a file of the user's, never
shipped: TAESD's autoencoder for FLUX.2 (MIT), 32 channels at an eighth of the side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from ecdd.models.state_dicts import CheckpointError
from ecdd.pipeline.preprocess import CropBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS: Final = 64
LATENT: Final = 32
GROUPS: Final = 4
REDUCTION: Final = 8
CLAMP: Final = 3.0  # the decoder reads tanh(x / 3) * 3
LARGEST_SIDE: Final = 320  # px; longer sides are reduced first, since time grows with the area
WHOLE_SHARE: Final = 0.6  # of the twins are reconstructed as a whole, the others in a soft region
ENCODER_NAME: Final = "taef2_encoder.pth"
DECODER_NAME: Final = "taef2_decoder.pth"


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


class _Residual(nn.Module):
    """Three 3x3 convolutions beside a shortcut; at an eighth of the side a normalised mixing of channels before."""

    def __init__(self, *, mixing: bool) -> None:
        super().__init__()
        wide = 4 * CHANNELS
        self.conv = nn.Sequential(
            _conv(CHANNELS, CHANNELS), nn.ReLU(), _conv(CHANNELS, CHANNELS), nn.ReLU(), _conv(CHANNELS, CHANNELS)
        )
        if mixing:
            into, out = nn.Conv2d(CHANNELS, wide, 1, bias=False), nn.Conv2d(wide, CHANNELS, 1, bias=False)
            self.pool = nn.Sequential(into, nn.GroupNorm(GROUPS, wide), nn.ReLU(), out)
        self.mixing = mixing

    def forward(self, x: Tensor) -> Tensor:
        if self.mixing:
            x = x + self.pool(x)
        return functional.relu(self.conv(x) + x)


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / CLAMP) * CLAMP


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, CHANNELS), _Residual(mixing=False)]
    for last in (False, False, True):
        layers += [_conv(CHANNELS, CHANNELS, stride=2, bias=False), *(_Residual(mixing=last) for _ in range(3))]
    return nn.Sequential(*layers, _conv(CHANNELS, LATENT))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [_Clamp(), _conv(LATENT, CHANNELS), nn.ReLU()]
    for first in (True, False, False):
        layers += [_Residual(mixing=first) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _conv(CHANNELS, CHANNELS, bias=False)]
    return nn.Sequential(*layers, _Residual(mixing=False), _conv(CHANNELS, 3))


class LatentAutoencoder:
    """Encoder and decoder with weights read from a folder.

    Parameters
    ----------
    folder : Path
        Holds `ENCODER_NAME` and `DECODER_NAME`.

    Raises
    ------
    CheckpointError
        If a file is missing or does not fit.
    """

    def __init__(self, folder: Path) -> None:
        self.encoder = _loaded(_encoder(), folder / ENCODER_NAME)
        self.decoder = _loaded(_decoder(), folder / DECODER_NAME)

    def reconstruct(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Send a picture through the latent space.

        Parameters
        ----------
        picture : ndarray, uint8, shape (H, W, 3)
            RGB; both sides multiples of 8.

        Returns
        -------
        ndarray, uint8, shape (H, W, 3)
            RGB.
        """
        x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.inference_mode():
            y = self.decoder(self.encoder(x))[0].clamp(0, 1).permute(1, 2, 0).numpy()
        levels: NDArray[np.uint8] = np.rint(y * 255).astype(np.uint8)
        return levels


def _loaded(network: nn.Sequential, path: Path) -> nn.Sequential:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        msg = f"{path}: not the autoencoder's weights ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        raise CheckpointError(msg) from error
    return network.eval()


def make_twin(
    picture: NDArray[np.uint8], crop: CropBox, autoencoder: LatentAutoencoder, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], CropBox]:
    """Reconstruct a real face, whole or in a soft region of it.

    Parameters
    ----------
    picture : ndarray, uint8, shape (H, W, 3)
        A face with its surroundings.
    crop : CropBox
        The face crop in it.
    autoencoder : LatentAutoencoder
        What it is sent through.
    seed : int
        Decides whole or region, where, and how soft.

    Returns
    -------
    twin, original : ndarray, uint8, shape (h, w, 3)
        Both reduced to at most `LARGEST_SIDE` and to sides that the autoencoder takes.
    crop : CropBox
        The face crop in them.
    """
    rng = np.random.default_rng(seed)
    factor = min(LARGEST_SIDE / max(picture.shape[:2]), 1.0)
    width, height = (max(int(length * factor) // REDUCTION, 8) * REDUCTION for length in picture.shape[1::-1])
    original = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    scale_x, scale_y = width / picture.shape[1], height / picture.shape[0]
    x0, y0 = int(crop.x0 * scale_x), int(crop.y0 * scale_y)
    side = min(int((crop.x1 - crop.x0) * min(scale_x, scale_y)), width - x0, height - y0)
    place = CropBox(x0, y0, x0 + side, y0 + side)
    twin = autoencoder.reconstruct(original)
    if rng.random() >= WHOLE_SHARE:
        mask = _region((width, height), place, rng)[..., None]
        twin = np.rint(original + (twin.astype(np.float32) - original) * mask).astype(np.uint8)
    return twin, original, place


def _region(size: tuple[int, int], crop: CropBox, rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft ellipse inside the crop, from a mouth's size to the whole face's; 0 … 1, shape (height, width)."""
    side = crop.x1 - crop.x0
    x, y = (low + side * float(rng.uniform(0.3, 0.7)) for low in (crop.x0, crop.y0))
    radii = side * rng.uniform(0.15, 0.4, 2)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    inside = ((columns - x) / radii[0]) ** 2 + ((rows - y) / radii[1]) ** 2 <= 1
    soft = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(side * float(rng.uniform(0.01, 0.05)))
    )
    return np.asarray(soft, np.float32) / np.float32(255)
