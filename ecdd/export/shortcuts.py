"""What the files of a calibration set give away without any forgery, said beside what a model reaches on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.calibration.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecdd.calibration.calibration_set_contract import ScoredPicture
    from ecdd.contract.loading import LoadedContract
    from ecdd.dataset_governance.usable_faces import TaggedRow

SHORTCUTS: Final = "shortcut_baseline"  # in a record's metrics
WHAT: Final = "a classifier that sees only format, size, compression, metadata and colour of the calibration files"


def shortcut_line(rows: Sequence[TaggedRow], scored: Sequence[ScoredPicture], contract: LoadedContract) -> str:
    """Measure the shortcut baseline of calibration pictures.

    Parameters
    ----------
    rows : sequence of (ManifestRow, SplitRow)
        The pictures; empty where only their logits were given.
    scored : sequence of ScoredPicture
        What the model says of them.
    contract : LoadedContract
        Decoder.

    Returns
    -------
    str
        One line; it begins with ``warning`` where the 95 % interval of the baseline lies above 0.5: a model that
        separates these pictures may then know their files and no forgery.
    """
    if not rows:
        return f"shortcut baseline not measured ({WHAT}): logits were given, not pictures"
    from ecdd.training.shortcut_audit import FOLDS, shortcut_audit

    audit: dict[str, Any] = shortcut_audit(list(rows), contract, None, seed=0)
    found = audit["baseline"]
    if found is None:
        return f"shortcut baseline not measured ({WHAT}): a class has fewer than {FOLDS} near-duplicate groups"
    low, high = found["interval"]
    judged = [(one.logit, one.label) for one in scored if one.logit is not None]
    own = auc(np.array([logit for logit, _ in judged]), np.array([label for _, label in judged]))
    text = f"{WHAT} has AUC {found['auc']:.3f} [{low:.3f}, {high:.3f}] on them, the model {own:.3f}"
    if low <= 0.5:
        return text
    most = max(audit["numbers"].items(), key=lambda item: abs((item[1]["auc"] or 0.5) - 0.5))
    return (
        f"warning: {text}: what the model says of such pictures may be said of their files ({most[0]} alone: AUC "
        f"{most[1]['auc'] or 0.5:.3f}); add pictures of both classes from the same cameras, sizes and encoders"
    )
