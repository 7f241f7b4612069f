"""The typed contract: one model of the whole of ``contracts/policy_contract.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ecdd.contract.interface_section import ModelInterface
from ecdd.contract.knob import Knob, Section
from ecdd.contract.model_sections import (
    Calibration,
    OperatingPoint,
    PatchGrid,
    Pooling,
    Quantization,
    Runtime,
)
from ecdd.contract.pixel_sections import FaceDetector, PixelPipeline, QualityGates
from ecdd.contract.process_sections import DatasetGovernance, Evaluation, Monitoring, Release, Serving

ReasonCodeText = Annotated[str, Field(pattern=r"^(GR|MD|IO|PX|SY)-\d{3}$")]


class ReasonCodes(Section):
    """The codes that a verdict may carry (spec §4); must equal the table in the code."""

    codes: Annotated[
        dict[str, ReasonCodeText],
        Knob("none", "E1.2"),
        Field(description="name of the reason to its code", min_length=1),
    ]


class PolicyContract(Section):
    """Every frozen knob (spec §1)."""

    contract_version: Annotated[
        str,
        Knob("none", "spec 1"),
        Field(description="version of the contract's content", pattern=r"^\d+\.\d+\.\d+$"),
    ]
    schema_version: Annotated[
        Literal[1, 2, 3, 4, 5], Knob("none", "spec 1"), Field(description="version of this schema")
    ]
    pixel_pipeline: PixelPipeline
    face_detector: FaceDetector
    quality_gates: QualityGates
    model_interface: ModelInterface
    patch_grid: PatchGrid
    pooling: Pooling
    calibration: Calibration
    operating_point: OperatingPoint
    quantization: Quantization
    runtime: Runtime
    evaluation: Evaluation
    serving: Serving
    monitoring: Monitoring
    release: Release
    dataset_governance: DatasetGovernance
    reason_codes: ReasonCodes

    @model_validator(mode="after")
    def _pooling_fits_the_output(self) -> PolicyContract:
        kind, rule = self.model_interface.output_kind, self.pooling.rule
        if (kind == "patch_logits") != (rule != "none"):
            fit = "a rule over the map" if kind == "patch_logits" else "none, since the output of the file decides"
            msg = f"pooling.rule is {rule!r} beside model_interface.output_kind {kind!r}, which needs {fit}"
            raise ValueError(msg)
        grid, maps = self.patch_grid, self.model_interface.map_name.values()
        if kind != "patch_logits" and not all(maps) and (any(maps) or (grid.rows, grid.cols) != (1, 1)):
            msg = (
                f"patch_grid.rows and cols are {grid.rows} and {grid.cols} where model_interface.map_name names no map "
                "in both files; without a map the one logit is a grid of 1x1"
            )
            raise ValueError(msg)
        return self
