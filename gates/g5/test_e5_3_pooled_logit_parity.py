"""E5.3: pooled logits before calibration, of every mode against the float reference; the file pools as Python does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.inference.pooling import pool
from ecdd.parity.pooled_logit_parity import pooled_parity
from gates.g5.conftest import MODES, SameTensors, held_to_limits, missing, runtime_of


@pytest.mark.experiment("E5.3")
@pytest.mark.parametrize("mode", MODES)
def test_pooled_logits_agree(evidence: Any, bundle: Any, policy: Any, same_tensors: SameTensors, mode: str) -> None:
    if missing(evidence, bundle, mode):
        return
    found, names = runtime_of(bundle, policy, mode).outputs(same_tensors.batch), same_tensors.names
    reference = np.array([pool(one, policy.pooling) for one in same_tensors.reference.maps])
    own = np.array([pool(one, policy.pooling) for one in found.maps])
    parity, n = pooled_parity(reference, own), len(names)
    evidence.measure(f"{mode}_offset", parity.offset, "logit")
    if held_to_limits(mode, policy):
        limit, worst = policy.quantization.max_pooled_difference, [names[parity.worst]]
        mean = float(np.abs(parity.difference).mean())
        evidence.check(f"{mode}_difference", parity.largest, limit=limit, unit="logit", worst=worst, mean=mean, n=n)
        least = policy.quantization.min_rank_correlation
        evidence.check(f"{mode}_rank_correlation", parity.rank_correlation, limit=least, op=">=", n=n)
    else:
        evidence.measure(f"{mode}_difference", parity.largest, "logit")
    # what the file pools must be what the detector pools of the file's own map: pooling is part of what ships
    evidence.check(f"{mode}_pools_itself", found.pooled is not None, limit=True, op="==")
    if found.pooled is not None:
        inside = pooled_parity(own, found.pooled)
        limit, worst = policy.pooling.tolerance_s6, [names[inside.worst]]
        evidence.check(f"{mode}_pooling_in_the_file", inside.largest, limit=limit, unit="logit", worst=worst, n=n)
