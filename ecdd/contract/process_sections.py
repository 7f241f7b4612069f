"""Contract sections for monitoring, release and data governance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ecdd.contract.knob import Knob, Section

Rate = Annotated[float, Field(ge=0, le=1)]
Quota = Annotated[int, Field(ge=0, le=10_000)]
LogField = Literal[
    "calibrated_probability",
    "label",
    "reason_codes",
    "face_confidence",
    "resolution_class",
    "compression_proxy",
    "bundle_digest",
    "device_class",
    "timestamp_minute",
]


class Monitoring(Section):
    """What is logged and when drift is reported (spec §1, phase 7)."""

    logged_fields: Annotated[
        list[LogField], Knob("none", "E7.1"), Field(description="nothing else is ever logged", min_length=1)
    ]
    retention_days: Annotated[int, Knob("day", "E7.1"), Field(description="older events are purged", ge=1, le=3650)]
    drift_min_samples: Annotated[
        int,
        Knob("event", "E7.2"),
        Field(description="no trigger before this many events", ge=10, le=1_000_000),
    ]
    drift_max_psi: Annotated[
        float, Knob("PSI", "E7.2"), Field(description="population stability index of the scores", gt=0, le=10)
    ]
    drift_max_abstain_increase: Annotated[
        Rate, Knob("rate", "E7.2"), Field(description="rise of the abstain rate over the reference")
    ]
    false_alarm_rate: Annotated[
        Rate, Knob("rate", "E7.2"), Field(description="of a quiet stream, over the whole watch")
    ]


class Release(Section):
    """What a release promises and when it is taken back (spec §1)."""

    claims: Annotated[
        list[str],
        Knob("none", "E6.4"),
        Field(description="experiments whose passing records a release needs", min_length=1),
    ]
    canary_share: Annotated[Rate, Knob("rate", "E7.3"), Field(description="share of traffic on a new bundle")]
    rollback_fpr_increase: Annotated[
        Rate, Knob("rate", "E7.3"), Field(description="rise of the FPR that takes a bundle back")
    ]


class DatasetGovernance(Section):
    """Lineage, duplicates and manual review (spec §1, phase 8)."""

    lineage_tags: Annotated[
        list[Literal["TRAIN", "CALIBRATION", "AUDIT", "TEST-NEVER-TOUCH"]],
        Knob("none", "E8.3"),
        Field(description="every item has exactly one", min_length=4, max_length=4),
    ]
    near_duplicate_hash: Annotated[Literal["phash"], Knob("none", "E8.1"), Field(description="perceptual hash")]
    near_duplicate_hash_size: Annotated[
        int, Knob("none", "E8.1"), Field(description="side of the hash; bits = side squared", ge=8, le=32)
    ]
    near_duplicate_max_distance: Annotated[
        int,
        Knob("bit", "E8.1"),
        Field(description="Hamming distance up to which two pictures are one group", ge=0, le=256),
    ]
    review_retention_days: Annotated[
        int, Knob("day", "E8.2"), Field(description="reviewed pictures are purged after", ge=1, le=365)
    ]
    review_quota: Annotated[
        dict[Literal["false_positive", "false_negative", "abstain", "correct"], Quota],
        Knob("picture", "E8.2"),
        Field(description="per review cycle", min_length=4),
    ]
