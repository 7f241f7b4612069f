"""Re-synthesised faces: the face passes through a small autoencoder that up-samples as image generators do.

Nothing in the face keeps its pixels; stride-2 transposed convolutions write the periodic traces of a decoder.
The network is fully convolutional and works at the face's own resolution, so no resize hides those traces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecdd.training.forgeries.face_shape import Points, frame_of, outline_in_picture, soft_polygon
from ecdd.training.forgeries.forgery import Forgery, ForgeryRefused, Picture, blend

NAME: Final = "resynthesis"
WEIGHTS: Final = Path(__file__).with_name("weights") / "autoencoder.safetensors"
STRIDE: Final = 4
LATENT: Final = 12  # channels between encoder and decoder
MARGIN: Final = 2.4  # half side of the square that is coded, in eye distances


class FaceAutoencoder(nn.Module):
    """Encoder and decoder, 1/4 resolution and a quarter of the numbers between them.

    Input and output: float32 (N, 3, H, W) in 0 … 1, H and W multiples of 4.
    """

    def __init__(self, width: int = 24, latent: int = LATENT) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(2 * width, latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, 2 * width, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(width, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(16, 3, 3, padding=1),
        )

    def forward(self, pictures: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Code and decode; ``noise`` is added to the latents."""
        latents = self.encoder(pictures)
        decoded: torch.Tensor = self.decoder(latents if noise is None else latents + noise)
        return decoded


def load_autoencoder(path: Path = WEIGHTS) -> FaceAutoencoder:
    """Load the packaged network, or one that ``python -m ecdd.training.forgeries.fit_autoencoder`` has made.

    Raises
    ------
    FileNotFoundError
        No weight file.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no weights; make them with python -m ecdd.training.forgeries.fit_autoencoder")
    network = FaceAutoencoder()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()}, strict=True)
    return network.eval()


def resynthesise(
    picture: Picture, landmarks: Points, network: FaceAutoencoder, seed: int, *, latent_noise: float = 0.05
) -> Forgery:
    """Replace a face by what the autoencoder makes of it.

    Parameters
    ----------
    picture : ndarray of uint8, (H, W, 3)
        RGB, upright.
    landmarks : sequence of (x, y)
        The detector's landmarks of the face, in pixels.
    network : FaceAutoencoder
        In evaluation mode.
    seed : int
        Of the noise on the latents.
    latent_noise : float
        Standard deviation of the noise, in standard deviations of the picture's own latents, >= 0.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of ``picture``, bit for bit.
    """
    frame = frame_of(landmarks)
    unit = float(np.hypot(frame[0, 0], frame[1, 0]))
    x0, y0, x1, y1 = _square(frame, unit, (picture.shape[1], picture.shape[0]))
    made = picture.astype(np.float64)
    made[y0:y1, x0:x1] = _decode(network, picture[y0:y1, x0:x1], seed, latent_noise)
    mask = soft_polygon((picture.shape[1], picture.shape[0]), outline_in_picture(landmarks), 0.1 * unit)
    inside = np.zeros_like(mask)
    inside[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    parameters: dict[str, float | int | str] = {
        "latent_noise": latent_noise,
        "coded_width": x1 - x0,
        "coded_height": y1 - y0,
    }
    return Forgery(blend(picture, made, inside), inside, NAME, parameters)


def _square(frame: NDArray[np.float64], unit: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Part of the picture to code: about the face, inside the picture, sides multiples of 8."""
    centre = frame[:, :2] @ np.array([0.0, 0.5]) + frame[:, 2]
    low = [max(int(centre[k] - MARGIN * unit), 0) for k in (0, 1)]
    high = [min(int(centre[k] + MARGIN * unit), size[k]) for k in (0, 1)]
    sides = [(high[k] - low[k]) // STRIDE * STRIDE for k in (0, 1)]
    if min(sides) < 2 * STRIDE:
        raise ForgeryRefused(
            "face too small to re-synthesise", f"{sides[0]} x {sides[1]} pixels, at least {2 * STRIDE} are needed"
        )
    return low[0], low[1], low[0] + sides[0], low[1] + sides[1]


def _decode(network: FaceAutoencoder, part: Picture, seed: int, latent_noise: float) -> NDArray[np.float64]:
    """Run the network on one part, (h, w, 3) in 0 … 255."""
    tensor = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)[None])).float() / 255
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        latents = network.encoder(tensor)
        noise = torch.randn(latents.shape, generator=generator) * latents.std(dim=(2, 3), keepdim=True) * latent_noise
        made = network.decoder(latents + noise).clamp(0, 1)
    result: NDArray[np.float64] = made[0].numpy().transpose(1, 2, 0).astype(np.float64) * 255
    return result
