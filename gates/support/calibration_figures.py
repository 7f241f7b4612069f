"""Figures of gate G4: what a person should see before signing a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecdd.bundle.loading import Bundle
from ecdd.calibration.abstain_policy import risk_coverage
from ecdd.calibration.binomial_bounds import clopper_pearson
from ecdd.calibration.metrics import reliability_curve
from ecdd.contract.schema import PolicyContract
from gates.support.calibration_set import CalibrationSet

REAL, FAKE, INK = "#2166ac", "#b2182b", "#333333"


def _axes(width: float = 5.2, height: float = 4.4, columns: int = 1) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(1, columns)


def reliability(calibration_set: CalibrationSet, bundle: Bundle) -> Any:
    """Reliability curve with bands, and how many pictures each bin holds."""
    figure, axes = _axes()
    curve = reliability_curve(calibration_set.probabilities, calibration_set.judged.labels)
    x, y = [b.mean_probability for b in curve], [b.share_fake for b in curve]
    errors = [[b.share_fake - b.low for b in curve], [b.high - b.share_fake for b in curve]]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="perfect")
    axes.errorbar(x, y, yerr=errors, fmt="o", color=INK, ecolor="#888888", capsize=3, label="observed, 95 % band")
    axes.set_xlabel("predicted P(fake), mean of the bin")
    axes.set_ylabel("share of fakes")
    axes.set_title(f"{bundle.calibration.method}: {curve[0].n} to {curve[-1].n} pictures a bin", fontsize=10)
    axes.legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    return figure


def threshold_stability(values: Any, policy: PolicyContract) -> Any:
    """Histograms of both thresholds over resamples."""
    figure, axes = _axes(6.4, 3.6)
    bins = np.linspace(0, 1, 51)
    for column, name, colour in ((0, "t_real", REAL), (1, "t_fake", FAKE)):
        axes.hist(values[:, column], bins=bins, alpha=0.6, color=colour, label=name)
        axes.axvline(getattr(policy.operating_point, name), color=colour, linestyle="--", linewidth=1.5)
    axes.set_xlabel("P(fake)")
    axes.set_ylabel("resamples")
    axes.legend(fontsize=8)
    figure.tight_layout()
    return figure


def roc_and_det(calibration_set: CalibrationSet, policy: PolicyContract) -> Any:
    """ROC with the operating point and its confidence box, and the same as a DET curve."""
    from scipy.stats import norm

    figure, (roc, det) = _axes(10, 4.6, 2)
    p, y, point = calibration_set.probabilities, calibration_set.judged.labels, policy.operating_point
    thresholds = np.concatenate([[np.inf], np.unique(p)[::-1]])
    fpr = np.array([(p[y == 0] >= t).mean() for t in thresholds])
    tpr = np.array([(p[y == 1] >= t).mean() for t in thresholds])
    roc.plot(fpr, tpr, color=INK, linewidth=1.5)
    roc.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    for name, colour in (("t_fake", FAKE), ("t_real", REAL)):
        t = getattr(point, name)
        counts = [(int((p[y == label] >= t).sum()), int((y == label).sum())) for label in (0, 1)]
        at = [hits / n for hits, n in counts]
        (x0, x1), (y0, y1) = (clopper_pearson(hits, n, point.confidence) for hits, n in counts)
        roc.fill([x0, x1, x1, x0], [y0, y0, y1, y1], color=colour, alpha=0.2)
        roc.plot(*at, "o", color=colour, label=f"{name} = {t:.3f}")
    roc.axvline(point.max_fpr, color="#999999", linestyle=":", linewidth=1, label=f"max_fpr {point.max_fpr:g}")
    roc.set_xlabel("share of reals called fake")
    roc.set_ylabel("share of fakes called fake")
    roc.legend(fontsize=8, loc="lower right")
    inside = (fpr > 0) & (fpr < 1) & (tpr > 0) & (tpr < 1)
    det.plot(norm.ppf(fpr[inside]), norm.ppf(1 - tpr[inside]), color=INK, linewidth=1.5)
    ticks = [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95]
    for axis in (det.xaxis, det.yaxis):
        axis.set_ticks(norm.ppf(ticks), [f"{t:g}" for t in ticks])
    det.set_xlabel("share of reals called fake")
    det.set_ylabel("share of fakes missed")
    det.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    return figure


def risk_and_coverage(calibration_set: CalibrationSet, rates: Any) -> Any:
    """Selective risk against coverage, with the contract's band."""
    figure, axes = _axes()
    coverage, risk = risk_coverage(calibration_set.probabilities, calibration_set.judged.labels)
    axes.plot(coverage, risk, color=INK, linewidth=1.5, label="surest pictures first, threshold 0.5")
    axes.plot([rates.coverage], [rates.selective_risk], "o", color=FAKE, label="the contract's band")
    axes.set_xlabel("coverage: share of pictures decided")
    axes.set_ylabel("selective risk: share of those that are wrong")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    figure.tight_layout()
    return figure


def histograms(calibration_set: CalibrationSet, policy: PolicyContract) -> Any:
    """Calibrated probabilities by class, and by source."""
    figure, (left, right) = _axes(11, 4.2, 2)
    p, y, bins = calibration_set.probabilities, calibration_set.judged.labels, np.linspace(0, 1, 26)
    for label, name, colour in ((0, "real", REAL), (1, "fake", FAKE)):
        left.hist(p[y == label], bins=bins, alpha=0.55, color=colour, label=f"{name}, {int((y == label).sum())}")
    for name in ("t_real", "t_fake"):
        left.axvline(getattr(policy.operating_point, name), color=INK, linestyle="--", linewidth=1)
    left.set_xlabel("P(fake); dashed: the abstain band")
    left.set_ylabel("pictures")
    left.legend(fontsize=8)
    sources = calibration_set.sources
    names = sorted(set(sources), key=lambda name: (int(y[sources == name][0]), name))
    for row, name in enumerate(names):
        mine = p[sources == name]
        colour = FAKE if y[sources == name][0] else REAL
        spread = np.random.default_rng(row).uniform(-0.25, 0.25, len(mine))
        right.plot(mine, row + spread, ".", color=colour, alpha=0.6, markersize=4)
        right.plot([np.median(mine)], [row], "|", color=INK, markersize=14)
    right.set_yticks(range(len(names)), names)
    right.set_xlabel("P(fake); bars: medians")
    for name in ("t_real", "t_fake"):
        right.axvline(getattr(policy.operating_point, name), color=INK, linestyle="--", linewidth=1)
    figure.tight_layout()
    return figure
