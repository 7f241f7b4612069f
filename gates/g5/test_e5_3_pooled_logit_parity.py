"""E5.3 pooled logit parity: the pooled logits of every mode, before calibration, stay within the contract's tolerance
of the float reference.

Calibration hides a shifted logit by refitting it. Fails when a pooled logit moves beyond the tolerance, or when a
file that pools by itself pools otherwise than the code.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.contract.interface_section import FILE_KINDS, ModelInterface
from ecdd.inference.pooling import pooled_logits
from ecdd.parity.pooled_logit_parity import pooled_parity
from ecdd.runtimes.base import ModelOutputs
from ecdd.runtimes.registry import load_runtime
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
    if not any(policy.model_interface.logit_name.values()):
        raise NotApplicable("pooling in the file", "model_interface.logit_name")
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


def meant_by(numbers: NDArray[np.float64], said: ModelInterface) -> NDArray[np.float64]:
    """The logit that an output's numbers stand for, (N, classes) to (N,), written out independently of the runtimes."""
    clip, fake = said.probability_clip, said.fake_index
    if said.output_kind == "class_logits":
        numbers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
        clip = 0.0
    if said.output_kind in {"class_logits", "class_probabilities"}:
        assert numbers.shape[1] == len(said.class_names)
        others = [place for place in range(numbers.shape[1]) if place != fake]
        return np.log(np.maximum(numbers[:, fake], clip) / np.maximum(numbers[:, others].sum(axis=1), clip))
    if said.output_kind == "probability":
        numbers = np.log(np.maximum(numbers, clip) / np.maximum(1 - numbers, clip))
    # one number speaks for the second of two classes; where none are named, for fake
    return -numbers[:, 0] if said.class_names and fake == 0 else numbers[:, 0]


@pytest.mark.experiment("E5.3")
def test_the_output_means_what_the_contract_says(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, same_tensors: SameTensors
) -> None:
    """The logit of both files, worked out again from the numbers that they give; nothing but what is named decides."""
    said, batch = policy.model_interface, same_tensors.batch[:8]
    for kind in FILE_KINDS:
        runtime = load_runtime(bundle, kind, 1)
        given, found = runtime.named_outputs(batch), runtime.outputs(batch).pooled
        known = {said.logit_name[kind], said.map_name[kind], *said.ignored_outputs[kind]}
        evidence.none(f"{kind}.outputs_that_nobody_named", sorted(given.keys() - known), n=len(given), unit="output")
        if found is None:  # of patch logits, which the detector pools
            continue
        numbers = given[said.logit_name[kind]].astype(np.float64).reshape(len(batch), -1)
        off = np.abs(meant_by(numbers, said) - found)
        evidence.check(f"{kind}.logit_differs_from_its_meaning", float(off.max()), limit=policy.pooling.tolerance_s6,
                       unit="logit", worst=[same_tensors.names[int(off.argmax())]], n=len(batch))  # fmt: skip
