"""Contracts of older schema versions: what they left unsaid, so that a bundle released earlier is still read.

A value that is filled in here stands as proposed and is left out of the digest: the digest of an old contract is the
one that its bundle was signed with. A new release rests on it only where the experiment that sets it is not claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ecdd.contract.yaml_reading import Value

SCHEMA_VERSION: Final = 5

# knobs that a version added, with what applied before
_ADDED: Final[Mapping[int, Mapping[str, Value]]] = {
    2: {
        "serving.max_connections": 512,
        "serving.drain_timeout": 10.0,
        "monitoring.drift_max_device_psi": 0.25,
        "monitoring.playbook_steps": {
            "recalibrate": "calibrate again",
            "augment_retrain": "train again",
            "method_upgrade": "replace the method",
        },
        "monitoring.playbook_escalation_days": 30,
        "dataset_governance.near_duplicate_min_points": 22,
        "dataset_governance.review_cycle_days": 30,
        "dataset_governance.review_encryption": "AES-256-GCM",
        "dataset_governance.review_failure_reasons": ["unknown_generator", "other"],
    },
    3: {
        "evaluation.max_field_fake_to_real": 0.05,
        "operating_point.unseen_max_fpr": 0.1,
        "operating_point.unseen_max_fnr": 0.2,
        "operating_point.unseen_max_abstain_rate": 0.5,
        "face_detector.second_look": "off",
        "face_detector.second_look_border": 0.5,
        "face_detector.second_look_score": 0.55,
        "face_detector.second_look_presence": 0.99,
        "face_detector.second_look_air": 0.35,
        "face_detector.second_look_sha256": "c6db0f13365dfbf533bf3e535e9a6f92de6bf1fd8100b91c86d7139140e208cf",
        "face_detector.tolerance_framing": 0.15,
        "quality_gates.min_tonal_levels": 0.0,
        "quality_gates.max_large_steps": 1.0,
        "quality_gates.max_roll": 180.0,
        "quality_gates.min_recall": 0.98,
        "quality_gates.max_face_leak": 0.01,
        "quality_gates.max_face_leak_bound": 0.03,
        "release.max_waivers": 3,
    },
    4: {
        "model_interface.input_name": {"tflite": "image", "onnx": "image"},
        "model_interface.input_layout": {"tflite": "NHWC", "onnx": "NHWC"},
        "model_interface.input_dtype": {"tflite": "any", "onnx": "any"},
        "model_interface.input_channels": "RGB",
        "model_interface.batch": {"tflite": "any", "onnx": "any"},
        "model_interface.output_kind": "patch_logits",
        "model_interface.logit_name": {"tflite": "pooled_logit", "onnx": "pooled_logit"},
        "model_interface.map_name": {"tflite": "patch_logits", "onnx": "patch_logits"},
        "model_interface.class_names": [],
        "model_interface.fake_index": 1,
        "model_interface.probability_clip": 1e-6,
        "model_interface.ignored_outputs": {"tflite": [], "onnx": []},
    },
    5: {
        "face_detector.second_look_doubt": 0.0,
        "face_detector.second_look_parts_ratio": 0.0,
        "face_detector.second_look_parts_overlap": 0.5,
        "face_detector.second_look_parts_logit": 18.0,
        "face_detector.second_look_parts_score": 0.77,
        "face_detector.second_look_parts_most": 32,
    },
}
# entries that a version added to a table
_EXTENDED: Final[Mapping[int, Mapping[str, Mapping[str, Value]]]] = {
    2: {"monitoring.playbook": {"device_shift": "recalibrate"}},
    3: {"reason_codes.codes": {"few_tonal_values": "GR-008", "face_turned": "GR-009"}},
}


def upgrade(values: dict[str, Value]) -> dict[str, Value]:
    """Fill in what a contract of an older schema version does not have.

    Parameters
    ----------
    values : dict of str to value
        By dotted key, as written; completed in place. Without an older ``schema_version`` nothing is done.

    Returns
    -------
    dict of str to value
        What the digest takes in place of the completed values: the value as written, or None for a knob that was
        not there.
    """
    written: dict[str, Value] = {}
    version = values.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        return written
    for newer in range(version + 1, SCHEMA_VERSION + 1):
        for key, before in _ADDED[newer].items():
            if key not in values:
                written[key], values[key] = None, before
        for key, entries in _EXTENDED.get(newer, {}).items():
            table = values.get(key)
            if isinstance(table, dict) and not table.keys() >= entries.keys():
                written.setdefault(key, table)
                values[key] = {**entries, **table}
    return written
