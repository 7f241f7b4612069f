"""Measure the statistics that faces are generated from: ``python -m ecdd.training.forgeries.fit_faces --data DIR``."""

from __future__ import annotations

import argparse
import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.files import write_bytes
from ecdd.specification import CONTRACT, SPLIT
from ecdd.training.forgeries import generated as g
from ecdd.training.forgeries.face_shape import composed, frame_of, inverted
from ecdd.training.forgeries.fitting_faces import FittingFace, fitting_faces

log = logging.getLogger(__name__)
MIN_FACES = 50  # below this a drawn face could resemble one of those behind it


def aligned(face: FittingFace, side: int) -> NDArray[np.uint8]:
    """The face on the canvas, RGB (side, side, 3); a larger face is reduced first, so that nothing aliases."""
    factor = side / g.LUMA_SIDE
    canvas = np.array(
        [[g.EYE_DISTANCE * factor, 0, g.EYES_AT[0] * factor], [0, g.EYE_DISTANCE * factor, g.EYES_AT[1] * factor]]
    )
    image, frame = Image.fromarray(face.picture), frame_of(face.landmarks)
    shrink = g.EYE_DISTANCE * factor / face.eye_distance
    if shrink < 1:
        size = (max(round(image.width * shrink), 1), max(round(image.height * shrink), 1))
        frame = np.diag([size[0] / image.width, size[1] / image.height]) @ frame
        image = image.resize(size, Image.Resampling.LANCZOS)
    back = composed(frame, inverted(canvas))
    wide = np.pad(np.asarray(image), ((side, side), (side, side), (0, 0)), mode="edge")
    back[:, 2] += side
    placed = Image.fromarray(wide).transform(
        (side, side), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC
    )
    return np.asarray(placed)


def vector(canvas: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma at full size and chroma at 48 x 48, flattened."""
    ycc = np.asarray(Image.fromarray(canvas).convert("YCbCr"), dtype=np.float64)
    chroma = [g.resized(ycc[..., k] - 128.0, g.CHROMA_SIDE).ravel() for k in (1, 2)]
    return np.concatenate([ycc[..., 0].ravel(), *chroma])


def principal(vectors: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and components scaled by their standard deviations, (D,) and (count, D)."""
    mean = vectors.mean(axis=0)
    _, scale, rows = np.linalg.svd(vectors - mean, full_matrices=False)
    components = rows[:count] * (scale[:count] / np.sqrt(len(vectors) - 1))[:, None]
    # the sign of a component is arbitrary: fix it, so that a rerun gives the same file
    signs = np.sign(components[np.arange(count), np.abs(components).argmax(axis=1)])
    return mean, components * signs[:, None]


def fine_texture(canvases: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Local strength (64, 64) and radial spectrum (65,) of what a 3-pixel blur takes away from luma."""
    from PIL import ImageFilter

    variance = np.zeros((64, 64))
    power, hits = np.zeros(65), np.zeros(65)
    fy, fx = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]
    bins = np.rint(np.minimum(np.hypot(fy, fx), 0.5) * 128).astype(int)
    for canvas in canvases:
        luma = Image.fromarray(canvas).convert("L")
        fine = np.asarray(luma, dtype=np.float64) - np.asarray(
            luma.filter(ImageFilter.GaussianBlur(3)), dtype=np.float64
        )
        step = fine.shape[0] // 64
        variance += (fine**2).reshape(64, step, 64, step).mean(axis=(1, 3))
        middle = fine[128:384, 128:384]
        spectrum = np.abs(np.fft.rfft2(middle)) ** 2
        np.add.at(power, bins, spectrum)
        np.add.at(hits, bins, 1.0)
    amplitude = np.sqrt(power / np.maximum(hits, 1))
    return np.sqrt(variance / len(canvases)), amplitude / np.sqrt((amplitude**2).mean())


def main() -> None:
    """Read the arguments, measure, write the statistics atomically."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="manifest or its folder")
    parser.add_argument("--split", type=Path, default=SPLIT)
    parser.add_argument("--contract", type=Path, default=CONTRACT)
    parser.add_argument("--out", type=Path, default=g.STATISTICS)
    parser.add_argument("--components", type=int, default=40)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    policy = load_contract(args.contract).policy
    vectors, sharp = [], []
    for face in fitting_faces(args.data, args.split, policy, min_eye_distance=30):
        canvas = aligned(face, g.LUMA_SIDE)
        vectors += [vector(canvas), vector(canvas[:, ::-1])]
        if face.eye_distance >= 100:
            sharp.append(aligned(face, g.TEXTURE_SIDE))
    log.info("%d faces, %d of them sharp enough for texture", len(vectors) // 2, len(sharp))
    if len(vectors) // 2 < MIN_FACES:
        raise SystemExit(f"--data: {len(vectors) // 2} usable faces, at least {MIN_FACES} are needed")
    mean, components = principal(np.stack(vectors), args.components)
    texture, spectrum = fine_texture(sharp)
    steps = np.abs(components).max(axis=1) / 127
    stored = io.BytesIO()
    np.savez_compressed(
        stored,
        mean=mean.astype(np.float16),
        components=np.rint(components / steps[:, None]).astype(np.int8),
        steps=steps.astype(np.float32),
        texture=texture.astype(np.float16),
        spectrum=spectrum.astype(np.float32),
        faces=np.int64(len(vectors) // 2),
    )
    write_bytes(args.out, stored.getvalue())
    log.info("%s: %d bytes", args.out.name, len(stored.getvalue()))


if __name__ == "__main__":
    main()
