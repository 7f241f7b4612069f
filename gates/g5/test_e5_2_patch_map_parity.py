"""E5.2 patch map parity: the patch maps of every mode have the float reference's shape, and their mean and max |Δ|
and the argmax cell stay within the contract's limits.

A cell that saw an edge of more than 127 levels loses what 8 bits cannot hold, so that with integer arithmetic single
cells may move. What the map is for holds all the same: its mean, its ranks, and which cell is the worst. The largest
difference is then recorded and drawn, not limited. Fails when one of the limited differences is too large, or when
the mode's file cannot be made again from the reference.
"""

from __future__ import annotations

import json

import pytest

from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import REPRESENTATIVE_FILE, SCORES_FILE, modes, place
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.parity.drawing import draw_cells, draw_worst
from ecdd.parity.patch_map_parity import patch_parity
from ecdd.parity.pooled_logit_parity import pooled_parity
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.support.fixtures import Bundle, Evidence, LoadedContract, NotApplicable, NotTested, PolicyContract
from gates.support.mode_parity import FLOAT, SameTensors, hold, limits_of, runtime_of
from gates.support.remaking import cannot_remake, remake


@pytest.mark.experiment("E5.2")
def test_maps_agree(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, same_tensors: SameTensors, mode: str
) -> None:
    if not all(policy.model_interface.map_name.values()):
        raise NotApplicable("patch maps", "model_interface.map_name")
    grid, maps = policy.patch_grid, same_tensors.reference.maps
    found = runtime_of(bundle, policy, mode).outputs(same_tensors.batch).maps
    shape = list(found.shape[1:])
    evidence.check(f"{mode}.shape_differs", int(shape != [grid.rows, grid.cols]), limit=0, op="==", n=len(found))
    parity = patch_parity(maps, found)
    hold(evidence, mode, parity.metrics(limits_of(bundle, policy, mode), same_tensors.names))
    if mode != FLOAT:
        titles = ("float reference", mode)
        sample = same_tensors.samples[parity.worst]
        drawn = draw_worst(sample, maps[parity.worst], found[parity.worst], titles)
        evidence.figure("worst", drawn, f"{sample.name}: its face, both maps and their difference (logit), {mode}")
        caption = f"Differences of every cell over {len(found)} golden faces, {mode}: a defect of the grid is a pattern"
        evidence.figure("cells", draw_cells(parity), caption)


@pytest.mark.experiment("E5.2")
def test_the_file_computes_as_its_mode_says(evidence: Evidence, bundle: Bundle, mode: str) -> None:
    """Looked up inside the file: a tool that quantises nothing, or with one scale for all channels, shows here."""
    from ecdd.export.quantised_file import EXPECTED, ISLANDS, convolutions

    listed = place(bundle, mode, REPRESENTATIVE_FILE)
    known = listed in bundle.manifest.files
    islands = json.loads(bundle.read(listed))["float_layers"] if known else list(ISLANDS)
    every = convolutions(bundle.read(place(bundle, mode, MODEL_FILE)))
    judged = [one for one in every if not one.name.startswith(tuple(f"{layer}/" for layer in islands))]
    others = [one.name for one in judged if (one.weights, one.activations) != EXPECTED[mode]]  # type: ignore[index]
    coarse = [one.name for one in judged if one.weights == "int8" and one.scales != one.channels]
    n = len(judged)
    evidence.check(f"{mode}.convolutions_as_they_must_be", n - len(others), limit=1, op=">=", n=n)
    evidence.none(f"{mode}.convolutions_of_other_types", others, n=n, unit="")
    evidence.none(f"{mode}.kernels_with_one_scale_for_all", coarse, n=n, unit="")
    evidence.measure(f"{mode}.float_islands", ", ".join(islands) or "none")


@pytest.mark.experiment("E5.2")
@pytest.mark.parametrize("mode", [FLOAT, "full_int8"], indirect=True)
def test_a_file_made_again_agrees(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract, same_tensors: SameTensors, mode: str
) -> None:
    """The export path of today, on golden faces, gives a file that keeps the same limits."""
    if why := cannot_remake(bundle):
        raise NotTested(f"{mode} made again", why)
    made = remake(bundle, contract, [sample.s3 for sample in same_tensors.samples], mode)
    evidence.check(
        f"{mode}.refused", int(made.model is None), limit=0, op="==", worst=[made.refusal][: bool(made.refusal)]
    )
    if made.model is None:
        return
    found = TFLiteRuntime(made.model).outputs(same_tensors.batch)
    limits = limits_of(bundle, contract.policy, mode)
    hold(evidence, mode, patch_parity(same_tensors.reference.maps, found.maps).metrics(limits, same_tensors.names))
    assert same_tensors.reference.pooled is not None
    assert found.pooled is not None
    pooled = pooled_parity(same_tensors.reference.pooled, found.pooled)
    hold(evidence, mode, pooled.metrics(limits, same_tensors.names))


@pytest.mark.experiment("E5.2")
def test_ranges_come_from_the_calibration_pictures(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract
) -> None:
    """The bundle's own account of what the ranges of activations were measured on."""
    listed = {mode: place(bundle, mode, REPRESENTATIVE_FILE) for mode in modes(bundle)}
    accounts = {mode: json.loads(bundle.read(name)) for mode, name in listed.items() if name in bundle.manifest.files}
    if not accounts or SCORES_FILE not in bundle.manifest.files:
        raise NotTested("representative data", "this bundle has no measured ranges, or no calibration scores")
    limits = contract.policy.quantization
    known = {one.sha256 for one in read_scores(bundle.file(SCORES_FILE)) if one.logit is not None}
    for mode, account in accounts.items():
        ids = account["ids"]
        n = len(ids)
        evidence.check(f"{mode}.pictures", n, limit=limits.min_representative, op=">=", n=n)
        evidence.none(f"{mode}.not_among_the_calibration_pictures", sorted(set(ids) - known), n=n, unit="")
        other = int(account["tensor_digest"] != contract.tensor_digest)
        evidence.check(f"{mode}.other_preprocessing", other, limit=0, op="==", n=n)
        stability = account["range_stability"]
        evidence.check(f"{mode}.range_instability", stability, limit=limits.max_range_instability, unit="factor", n=n,
                       clause="quantization.max_range_instability")  # fmt: skip
