"""Begin with linear heads that already tell the classes apart: a logistic regression on the untouched trunk's features.

Training heads from nothing sends noise into pretrained layers; heads that begin at the regression's optimum keep what
the trunk knows, and carry further to other sources (Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch

from ecdd.models.lite import HEADS, Lite

if TYPE_CHECKING:
    from torch import nn

    from ecdd.training.face_draws import FaceDraws

INVERSE_STRENGTH: Final = 0.003  # of the L2 penalty, on standardised features
EPOCH: Final = 0  # place of its draws: before the first epoch
ITERATIONS: Final = 300


def fit_heads(model: Lite, data: FaceDraws, draws: int, batch: int, crop: int) -> float:
    """Set the heads to a logistic regression on the mean features of their depths; the trunk stays as it is.

    Parameters
    ----------
    model : Lite
        Its heads are replaced.
    data : FaceDraws
        What is drawn from.
    draws, batch : int
        Pictures, and so many at a time.
    crop : int
        Side of the part of S4 that features are taken from, px.

    Returns
    -------
    float
        Accuracy on the pictures fitted on, 0 … 1.
    """
    from sklearn.linear_model import LogisticRegression

    training, device = model.training, next(model.parameters()).device
    model.eval()
    features, labels = [], []
    for begin in range(0, draws - batch + 1, batch):
        drawn = data.batch(batch, crop, (EPOCH, begin))
        with torch.inference_mode():
            depths = model.depth_features(drawn.tensors.to(device, memory_format=torch.channels_last))
        features.append(torch.cat([one.mean(dim=(2, 3)) for one in depths], dim=1).double().cpu().numpy())
        labels.append(drawn.labels.numpy())
    x, y = np.concatenate(features), np.concatenate(labels).astype(int)
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=INVERSE_STRENGTH, max_iter=ITERATIONS).fit((x - middle) / spread, y)
    weights = fitted.coef_[0] / spread
    constant = float(fitted.intercept_[0] - weights @ middle)
    begin = 0
    with torch.no_grad():
        for depth in HEADS:
            head = cast("nn.Linear", model.heads[str(depth)])
            own = weights[begin : begin + head.in_features]
            head.weight.copy_(torch.from_numpy(own)[None])
            head.bias.fill_(constant / len(HEADS))
            begin += head.in_features
    model.train(training)
    return float(fitted.score((x - middle) / spread, y))
