"""The peer of the ratio benchmark: how such a detector is usually put together.

dlib's HOG face finder with the defaults of ``face_recognition`` (one up-sampling), a crop, a PIL resize, and
the same network in eager torch. It gives no contract, no guardrails and no reason codes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def naive_predictor(weights: Path) -> Callable[[Path], float]:
    """Build the naive path for a float checkpoint.

    Parameters
    ----------
    weights : Path
        ``weights.safetensors`` of a bundle.

    Returns
    -------
    callable
        From the path of a picture to P(fake) in [0, 1].

    Raises
    ------
    ImportError
        Without the extras ``train`` and ``dlib``.
    """
    import dlib  # type: ignore[import-not-found,unused-ignore]
    import torch
    from PIL import Image

    from ecdd.runtimes.torch import TorchRuntime

    torch.set_num_threads(1)
    finder = dlib.get_frontal_face_detector()
    network = TorchRuntime(weights)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)

    def predict(path: Path) -> float:
        with Image.open(path) as opened:
            picture = np.asarray(opened.convert("RGB"))
        faces = finder(picture, 1)
        if not faces:
            msg = f"{path.name}: the naive path finds no face, the ratio would compare different work"
            raise ValueError(msg)
        face = faces[0]
        crop = picture[max(face.top(), 0) : face.bottom(), max(face.left(), 0) : face.right()]
        small = np.asarray(Image.fromarray(crop).resize((256, 256), Image.Resampling.BILINEAR), np.float32)
        tensor = ((small / 255.0 - mean) / std)[None].astype(np.float32)
        return float(1.0 / (1.0 + np.exp(-network.patch_map(tensor).mean())))

    return predict
