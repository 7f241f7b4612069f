"""E5.2 patch map parity: the patch maps of every mode have the float reference's shape, and their mean and max |Δ|
and the argmax cell stay within the contract's limits.

A cell that saw an edge of more than 127 levels loses what 8 bits cannot hold, so that with integer arithmetic single
cells may move. What the map is for holds all the same: its mean, its ranks, and which cell is the worst. The largest
difference is then recorded and drawn, not limited. Fails when one of the limited differences is too large, or when
the mode's file cannot be made again from the reference.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import REPRESENTATIVE_FILE, SCORES_FILE, modes, place
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.parity.drawing import draw_cells, draw_worst
from ecdd.parity.patch_map_parity import patch_parity
from ecdd.parity.pooled_logit_parity import pooled_parity
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.g5.conftest import FLOAT, SameTensors, limits_of, missing, record, runtime_of
from gates.support.remaking import cannot_remake, remake


@pytest.mark.experiment("E5.2")
def test_maps_agree(evidence: Any, bundle: Any, policy: Any, same_tensors: SameTensors, mode: str) -> None:
    if missing(evidence, bundle, mode):
        return
    grid, maps = policy.patch_grid, same_tensors.reference.maps
    found = runtime_of(bundle, policy, mode).outputs(same_tensors.batch).maps
    shape = list(found.shape[1:])
    evidence.check(f"{mode}.shape_differs", int(shape != [grid.rows, grid.cols]), limit=0, op="==", n=len(found))
    parity = patch_parity(maps, found)
    record(evidence, mode, parity.metrics(limits_of(bundle, policy, mode), same_tensors.names))
    if mode != FLOAT:
        titles = ("float reference", mode)
        sample = same_tensors.samples[parity.worst]
        drawn = draw_worst(sample, maps[parity.worst], found[parity.worst], titles)
        evidence.figure("worst", drawn, f"{sample.name}: its face, both maps and their difference (logit), {mode}")
        caption = f"Differences of every cell over {len(found)} golden faces, {mode}: a defect of the grid is a pattern"
        evidence.figure("cells", draw_cells(parity), caption)


@pytest.mark.experiment("E5.2")
def test_the_file_computes_as_its_mode_says(evidence: Any, bundle: Any, mode: str) -> None:
    """Looked up inside the file: a tool that quantises nothing, or with one scale for all channels, shows here."""
    if missing(evidence, bundle, mode):
        return
    from ecdd.export.quantised_file import EXPECTED, ISLANDS, convolutions

    listed = place(bundle, mode, REPRESENTATIVE_FILE)
    islands = list(ISLANDS)
    if listed in bundle.manifest.files:
        islands = json.loads(bundle.read(listed))["float_layers"]
    judged = [
        one
        for one in convolutions(bundle.read(place(bundle, mode, MODEL_FILE)))
        if not one.name.startswith(tuple(f"{layer}/" for layer in islands))
    ]
    others = [one.name for one in judged if (one.weights, one.activations) != EXPECTED[mode]]  # type: ignore[index]
    coarse = [one.name for one in judged if one.weights == "int8" and one.scales != one.channels]
    n = len(judged)
    evidence.check(f"{mode}.convolutions_as_they_must_be", n - len(others), limit=1, op=">=", n=n)
    evidence.check(f"{mode}.convolutions_of_other_types", len(others), limit=0, op="==", worst=others[:3], n=n)
    evidence.check(f"{mode}.kernels_with_one_scale_for_all", len(coarse), limit=0, op="==", worst=coarse[:3], n=n)
    evidence.measure(f"{mode}.float_islands", ", ".join(islands) or "none")


@pytest.mark.experiment("E5.2")
@pytest.mark.parametrize("mode", [FLOAT, "full_int8"])
def test_a_file_made_again_agrees(
    evidence: Any, bundle: Any, contract: Any, same_tensors: SameTensors, mode: str
) -> None:
    """The export path of today, on golden faces, gives a file that keeps the same limits."""
    why = cannot_remake(bundle) or (None if mode in modes(bundle) else f"this bundle has no mode {mode}")
    if why:
        evidence.not_tested(f"{mode} made again", why)
        return
    made = remake(bundle, contract, [sample.s3 for sample in same_tensors.samples], mode)
    evidence.check(
        f"{mode}.refused", int(made.model is None), limit=0, op="==", worst=[made.refusal][: bool(made.refusal)]
    )
    if made.model is None:
        return
    found = TFLiteRuntime(made.model).outputs(same_tensors.batch)
    limits = limits_of(bundle, contract.policy, mode)
    record(evidence, mode, patch_parity(same_tensors.reference.maps, found.maps).metrics(limits, same_tensors.names))
    assert same_tensors.reference.pooled is not None
    assert found.pooled is not None
    pooled = pooled_parity(same_tensors.reference.pooled, found.pooled)
    record(evidence, mode, pooled.metrics(limits, same_tensors.names))


@pytest.mark.experiment("E5.2")
def test_ranges_come_from_the_calibration_pictures(evidence: Any, bundle: Any, contract: Any) -> None:
    """The bundle's own account of what the ranges of activations were measured on."""
    listed = [
        (mode, place(bundle, mode, REPRESENTATIVE_FILE))
        for mode in modes(bundle)
        if place(bundle, mode, REPRESENTATIVE_FILE) in bundle.manifest.files
    ]
    if not listed or SCORES_FILE not in bundle.manifest.files:
        evidence.not_tested("representative data", "this bundle has no measured ranges, or no calibration scores")
        return
    limits = contract.policy.quantization
    known = {one.sha256 for one in read_scores(bundle.file(SCORES_FILE)) if one.logit is not None}
    for mode, name in listed:
        account = json.loads(bundle.read(name))
        ids = account["ids"]
        foreign = sorted(set(ids) - known)
        n = len(ids)
        evidence.check(f"{mode}.pictures", n, limit=limits.min_representative, op=">=", n=n)
        evidence.check(
            f"{mode}.not_among_the_calibration_pictures", len(foreign), limit=0, op="==", worst=foreign[:3], n=n
        )
        other = int(account["tensor_digest"] != contract.tensor_digest)
        evidence.check(f"{mode}.other_preprocessing", other, limit=0, op="==", n=n)
        stability = account["range_stability"]
        evidence.check(f"{mode}.range_instability", stability, limit=limits.max_range_instability, unit="factor", n=n)
