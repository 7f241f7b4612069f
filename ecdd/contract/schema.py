"""The typed contract: one model of the whole of ``contracts/policy_contract.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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
    schema_version: Annotated[Literal[1, 2, 3], Knob("none", "spec 1"), Field(description="version of this schema")]
    pixel_pipeline: PixelPipeline
    face_detector: FaceDetector
    quality_gates: QualityGates
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
