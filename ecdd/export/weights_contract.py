"""The contract of a weight file: operator, factor, grid and pixels are read from it, everything else from a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecdd.contract.upgrading import SCHEMA_VERSION
from ecdd.models.checkpoint import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.model_sections import PoolingRule
    from ecdd.contract.yaml_reading import Value


def contract_of_weights(
    weights: Path, pooling: PoolingRule | None, crop_margin: float | None, base: LoadedContract
) -> tuple[LoadedContract, list[str]]:
    """Describe the network of a weight file in a contract.

    Parameters
    ----------
    weights : Path
        What ``ecdd models import`` or a training wrote.
    pooling : PoolingRule or None
        How the map becomes one logit; the policy's rule where not said.
    crop_margin : float or None
        Side of the training crops / longer side of the face; the policy's where not said.
    base : LoadedContract
        Everything else: policy, gates, limits.

    Returns
    -------
    (LoadedContract, list of str)
        The contract, and what it says, one line each.

    Raises
    ------
    CheckpointError
        The file is no weight file of this project.
    ContractError
        The values do not fit the schema.
    """
    model, identity = load_weights(weights)
    grid = model.geometry(identity.input_size, identity.input_size)
    values: dict[str, Value] = {
        "pixel_pipeline.input_size": identity.input_size,
        "pixel_pipeline.pixel_scale": identity.pixel_scale,
        "pixel_pipeline.normalisation_mean": list(identity.normalisation_mean),
        "pixel_pipeline.normalisation_std": list(identity.normalisation_std),
        "patch_grid.input_operator": identity.input_operator,
        "patch_grid.operator_scale": identity.operator_scale,
        **{
            f"patch_grid.{name}": getattr(grid, name)
            for name in ("rows", "cols", "stride", "receptive_field", "padding")
        },
        "pooling.rule": pooling or base.policy.pooling.rule,
        "face_detector.crop_margin": crop_margin or base.policy.face_detector.crop_margin,
        "quantization.mode": "float32",
        "quantization.releasable": ["float32"],
    }
    notes = [
        f"{weights}: {identity.architecture}, {identity.input_operator} x {identity.operator_scale:.4g}, "
        f"{identity.input_size} px, a map of {grid.rows}x{grid.cols} cells",
        f"pooled by {values['pooling.rule']}; --pooling where that is wrong",
        f"crops of {values['face_detector.crop_margin']} face sides; --crop-margin where that is wrong",
    ]
    filled = {key: base.values[key] for key in base.written}
    newest = base.with_values({"schema_version": SCHEMA_VERSION})
    return newest.with_values(filled | values, status="proposed"), notes
