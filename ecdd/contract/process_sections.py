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


Trigger = Literal["score_shift", "abstain_spike", "face_failure_spike", "compression_shift", "device_shift"]
PlaybookLevel = Literal["recalibrate", "augment_retrain", "method_upgrade"]
SplitName = Literal["source", "device", "platform", "compression", "time"]


class Evaluation(Section):
    """Limits of the release battery (spec §3, gate G6)."""

    splits: Annotated[
        list[SplitName],
        Knob("none", "E6.1"),
        Field(description="splits that a release speaks of; a split without its column is not claimed", min_length=1),
    ]
    min_group_pictures: Annotated[
        int, Knob("picture", "E6.1"), Field(description="of one class; a smaller group is shown, not judged", ge=5)
    ]
    max_group_error_increase: Annotated[
        Rate, Knob("rate", "E6.1"), Field(description="FPR or FNR of a group over that of all pictures")
    ]
    max_later_fpr_increase: Annotated[
        Rate, Knob("rate", "E6.2"), Field(description="FPR on later pictures over that on earlier ones")
    ]
    max_transform_error_increase: Annotated[
        Rate, Knob("rate", "E6.3"), Field(description="FPR or FNR of transformed pictures over the untouched ones")
    ]
    max_shortcut_flips: Annotated[
        Rate,
        Knob("rate", "E6.3"),
        Field(description="decisions that change when only the container or the metadata changes"),
    ]
    max_field_fake_to_real: Annotated[
        Rate, Knob("rate", "E6.6"), Field(description="fakes that a mistake of the field's pixels turns into real")
    ]


class Serving(Section):
    """Abuse controls of the local site (spec §3, E1.1)."""

    max_concurrency: Annotated[
        int, Knob("request", "E1.1"), Field(description="requests that are scored at once", ge=1, le=256)
    ]
    max_queue: Annotated[
        int, Knob("request", "E1.1"), Field(description="requests that wait; more are answered 503", ge=0, le=10_000)
    ]
    requests_per_minute: Annotated[
        int, Knob("request/min", "E1.1"), Field(description="of one client; more are answered 429", ge=1)
    ]
    burst: Annotated[int, Knob("request", "E1.1"), Field(description="of one client at once", ge=1)]
    request_timeout: Annotated[
        float, Knob("s", "E1.1"), Field(description="to receive and answer one request", gt=0, le=600)
    ]
    max_connections: Annotated[
        int, Knob("connection", "E1.1"), Field(description="open at once; further ones are answered 503", ge=1)
    ]
    drain_timeout: Annotated[
        float, Knob("s", "E1.1"), Field(description="to finish requests in flight when the site stops", gt=0, le=600)
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
    drift_min_ks: Annotated[
        Rate, Knob("KS", "E7.2"), Field(description="smallest Kolmogorov-Smirnov distance that counts as a shift")
    ]
    drift_max_face_failure_increase: Annotated[
        Rate, Knob("rate", "E7.2"), Field(description="rise of the share without a usable face")
    ]
    drift_max_compression_psi: Annotated[
        float, Knob("PSI", "E7.2"), Field(description="of the compression classes", gt=0, le=10)
    ]
    drift_max_device_psi: Annotated[float, Knob("PSI", "E7.2"), Field(description="of the device classes", gt=0, le=10)]
    false_alarm_rate: Annotated[
        Rate, Knob("rate", "E7.2"), Field(description="of a quiet stream, over the whole watch")
    ]
    max_detection_delay: Annotated[
        int, Knob("event", "E7.2"), Field(description="from the drift's first event to the trigger", ge=10)
    ]
    playbook: Annotated[
        dict[Trigger, PlaybookLevel],
        Knob("none", "E7.2"),
        Field(description="first response to a trigger", min_length=5),
    ]
    playbook_steps: Annotated[
        dict[PlaybookLevel, str],
        Knob("none", "E7.2"),
        Field(description="what a level asks for; levels rise in the order of the schema", min_length=3),
    ]
    playbook_escalation_days: Annotated[
        int,
        Knob("day", "E7.2"),
        Field(description="a trigger that fires again within this time asks for the next level", ge=1, le=3650),
    ]


class Release(Section):
    """What a release promises and when it is taken back (spec §1)."""

    claims: Annotated[
        list[str],
        Knob("none", "E6.4"),
        Field(description="experiments whose passing records a release needs", min_length=1),
    ]
    max_waivers: Annotated[
        int, Knob("waiver", "E6.4"), Field(description="claims that a release may waive", ge=0, le=5)
    ]
    canary_share: Annotated[Rate, Knob("rate", "E7.3"), Field(description="share of traffic on a new bundle")]
    rollback_fpr_increase: Annotated[
        Rate, Knob("rate", "E7.3"), Field(description="rise of the FPR that takes a bundle back")
    ]
    canary_min_pictures: Annotated[
        int, Knob("picture", "E7.3"), Field(description="of one class before a canary is promoted", ge=10)
    ]
    rollback_fnr_increase: Annotated[
        Rate, Knob("rate", "E7.3"), Field(description="rise of the FNR that takes a bundle back")
    ]
    rollback_abstain_increase: Annotated[
        Rate, Knob("rate", "E7.3"), Field(description="rise of the abstain rate that takes a bundle back")
    ]
    rollback_latency_ratio: Annotated[
        float, Knob("ratio", "E7.3"), Field(description="median time of a picture over the old bundle's", gt=1, le=100)
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
    near_duplicate_min_points: Annotated[
        int,
        Knob("point", "E8.1"),
        Field(description="local features that one similarity explains, from which two pictures are one group", ge=6),
    ]
    review_retention_days: Annotated[
        int, Knob("day", "E8.2"), Field(description="reviewed pictures are purged after", ge=1, le=365)
    ]
    review_cycle_days: Annotated[
        int, Knob("day", "E8.2"), Field(description="length of a cycle; quotas begin anew with each", ge=1, le=365)
    ]
    review_encryption: Annotated[
        Literal["AES-256-GCM"], Knob("none", "E8.2"), Field(description="of pictures and forms at rest")
    ]
    review_failure_reasons: Annotated[
        list[str],
        Knob("none", "E8.2"),
        Field(description="what a reviewer may name as the cause, the second label of a form", min_length=2),
    ]
    review_quota: Annotated[
        dict[Literal["false_positive", "false_negative", "abstain", "correct"], Quota],
        Knob("picture", "E8.2"),
        Field(description="per review cycle", min_length=4),
    ]
