"""E5.3 pooled logit parity: the pooled logits of every mode, before calibration, stay within the contract's tolerance
of the float reference.

Calibration hides a shifted logit by refitting it. Fails when a pooled logit moves beyond the tolerance, or when a
file that pools by itself pools otherwise than the code.
"""

from __future__ import annotations

import pytest

from ecdd.inference.pooling import pooled_logits
from ecdd.parity.pooled_logit_parity import pooled_parity
from ecdd.runtimes.base import ModelOutputs
from gates.support.fixtures import Bundle, Evidence, NotApplicable, PolicyContract
from gates.support.mode_parity import SameTensors, hold, limits_of, runtime_of


@pytest.mark.experiment("E5.3")
def test_pooled_logits_agree(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, same_tensors: SameTensors, mode: str
) -> None:
    found, names = runtime_of(bundle, policy, mode).outputs(same_tensors.batch), same_tensors.names
    reference, own = (pooled_logits(one, policy.pooling) for one in (same_tensors.reference, found))
    hold(evidence, mode, pooled_parity(reference, own).metrics(limits_of(bundle, policy, mode), names))


@pytest.mark.experiment("E5.3")
def test_the_file_pools_as_the_detector(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, same_tensors: SameTensors, mode: str
) -> None:
    """Pooling is part of what ships: the file's pooled logit is the rule applied to the file's own map."""
    if policy.pooling.rule == "none":
        raise NotApplicable("pooling in the file", "pooling.rule")
    found = runtime_of(bundle, policy, mode).outputs(same_tensors.batch)
    evidence.check(f"{mode}.files_without_a_pooled_logit", int(found.pooled is None), limit=0, op="==", n=1)
    if found.pooled is not None:
        own = pooled_logits(ModelOutputs(found.maps, None), policy.pooling)
        inside = pooled_parity(own, found.pooled)
        worst = [same_tensors.names[inside.worst]]
        limit = policy.pooling.tolerance_s6
        evidence.check(
            f"{mode}.pooling_in_the_file", inside.max_difference, limit=limit, unit="logit", worst=worst, n=inside.n
        )
