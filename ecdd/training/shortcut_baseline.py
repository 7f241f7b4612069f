"""What a classifier reaches that never looks for forgery: size, sharpness, compression and colour only.

A student that does not beat it on the same tensors and split may have learnt nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import auc, bootstrap_interval
from ecdd.pipeline.compression import blockiness
from ecdd.training.cache import Variant

FEATURES = (
    "face_side",
    "crop_side",
    "sharpness",
    "jpeg_quality",
    "blockiness",
    "tensor_blockiness",
    "saturation",
    "brightness",
    "contrast",
)
UNKNOWN_QUALITY = 101.0  # beyond the best JPEG: a file without known quality is a value of its own


@dataclass(frozen=True)
class BaselineResult:
    """AUC of the shortcut classifier and of each feature alone.

    Attributes
    ----------
    auc : float
        Of the logistic regression on the validation tensors.
    interval : tuple of float
        95 % bootstrap interval, whole pictures resampled.
    single : dict of str to float
        AUC of each feature alone, larger = fake.
    """

    auc: float
    interval: tuple[float, float]
    single: dict[str, float]


def features(variants: list[Variant]) -> NDArray[np.float64]:
    """Measure the shortcut features of the tensors that the student scores.

    Parameters
    ----------
    variants : list of Variant
        n tensors.

    Returns
    -------
    ndarray, float64, shape (n, 9)
        Columns in the order of ``FEATURES``; sides in log px, sharpness in log level^2.
    """
    return np.array([_features(variant) for variant in variants], np.float64).reshape(-1, len(FEATURES))


@lru_cache(maxsize=65_536)
def _features(variant: Variant) -> tuple[float, ...]:
    """Features of one tensor; cached, because every fold of a training measures the same tensors again."""
    quality = variant.quality
    return (
        float(np.log(quality.face_side)),
        float(np.log(variant.crop_side)),
        float(np.log(quality.blur + 1)),
        UNKNOWN_QUALITY if quality.jpeg_quality is None else quality.jpeg_quality,
        quality.blockiness,
        *tensor_features(variant.s3()),
    )


def tensor_features(s3: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Measure what S3 itself shows: blockiness, saturation, brightness and contrast, the last four of ``FEATURES``."""
    grey = s3.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return (
        blockiness(np.round(grey).astype(np.uint8)),
        float((s3.max(axis=2).astype(np.float64) - s3.min(axis=2)).mean()),
        float(grey.mean()),
        float(grey.std()),
    )


def shortcut_baseline(
    train: tuple[list[Variant], NDArray[np.float64]],
    validation: tuple[list[Variant], NDArray[np.float64]],
    seed: int,
) -> BaselineResult:
    """Fit a logistic regression on the features and measure it on the validation tensors.

    Parameters
    ----------
    train, validation : tuple of list of Variant and ndarray of float64, shape (n,)
        The student's own tensors and weights.
    seed : int
        Of the bootstrap.

    Returns
    -------
    BaselineResult
        With interval.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x_train, x_test = features(train[0]), features(validation[0])
    y_train, y_test = (np.array([v.label for v in part[0]], np.int64) for part in (train, validation))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    model.fit(x_train, y_train, logisticregression__sample_weight=train[1])
    scores = np.asarray(model.decision_function(x_test), np.float64)
    return BaselineResult(
        auc=auc(scores, y_test, validation[1]),
        interval=auc_interval(scores, validation[0], validation[1], seed),
        single={name: auc(x_test[:, k], y_test, validation[1]) for k, name in enumerate(FEATURES)},
    )


def auc_interval(
    scores: NDArray[np.float64], variants: list[Variant], weights: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of a weighted AUC; all variants of a near-duplicate group are drawn together."""
    labels = np.array([v.label for v in variants], np.int64)
    names = sorted({v.group for v in variants})
    number = {name: k for k, name in enumerate(names)}
    groups = np.array([number[v.group] for v in variants], np.int64)
    return bootstrap_interval(lambda k: auc(scores[k], labels[k], weights[k]), labels, groups, seed=seed)
