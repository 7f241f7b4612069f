"""The digest changes if and only if a value, a status or a deciding experiment changes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecdd.contract.describing import knob_fields, value_schema
from ecdd.contract.diff import affected_gates, affected_stages, diff
from ecdd.contract.digest import contract_digest
from ecdd.contract.loading import ContractError, LoadedContract, Provenance, load_contract
from ecdd.contract.yaml_reading import Value
from gates.support.edited_bundles import SOURCE_CONTRACT

KEYS = sorted(knob_fields())


@pytest.fixture(scope="module")
def good() -> LoadedContract:
    return load_contract(SOURCE_CONTRACT)


def _shuffled(items: Iterable[Any], rng: random.Random) -> list[Any]:
    return rng.sample(ordered := sorted(items), len(ordered))


def _styled(value: object, rng: random.Random) -> str:
    """Write a value in another way that means the same."""
    if isinstance(value, float) and value.is_integer() and rng.random() < 0.5:
        return str(int(value))
    if isinstance(value, str):
        quoted = [json.dumps(value), "'" + value.replace("'", "''") + "'"]
        return rng.choice(quoted)
    if isinstance(value, list):
        return "[" + " , ".join(_styled(item, rng) for item in value) + "]"
    if isinstance(value, dict):
        pairs = _shuffled(value.items(), rng)
        return "{" + ", ".join(f"{json.dumps(name)}: {_styled(item, rng)}" for name, item in pairs) + "}"
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=True))  # one seed an example: a contract takes a thousand draws
def test_comments_order_and_quoting_change_nothing(good: LoadedContract, tmp_path: Path, rng: random.Random) -> None:
    raw: dict[str, Any] = yaml.safe_load(SOURCE_CONTRACT.read_text())
    lines = []
    for top in _shuffled(raw, rng):
        leaves = {top: raw[top]} if "value" in raw[top] else raw[top]
        indent = "" if leaves.get(top) is raw[top] else "  "
        lines += [] if not indent else [f"{top}:  # {rng.choice(['x', 'é', '{', 'a: b'])}"]
        for name in _shuffled(leaves, rng):
            item = leaves[name]
            key = f"{top}.{name}" if indent else name
            value = good.written.get(key, good.values[key])
            parts = {"value": _styled(value, rng), "status": item["status"], "set_by": f'"{item["set_by"]}"'}
            order = _shuffled(parts, rng)
            if rng.random() < 0.5:
                lines.append(f"{indent}{name}: {{{', '.join(f'{part}: {parts[part]}' for part in order)}}}")
            else:
                lines += [f'{indent}"{name}":', *(f"{indent}    {part}: {parts[part]}  # why" for part in order)]
    path = tmp_path / "styled.yaml"
    path.write_text("\n".join(lines) + "\n")
    styled = load_contract(path)
    assert styled.digest == good.digest
    assert styled.preprocessing_digest == good.preprocessing_digest
    assert not diff(good, styled)


def _other_values(key: str, value: object) -> list[Any]:
    """Propose values that differ from this one; the schema refuses some of them."""
    schema = value_schema(key)
    options = [item for item in schema.get("enum", ()) if item != value]
    if isinstance(value, bool):
        return options
    if isinstance(value, int):
        return [*options, value + 1, value - 1, value * 2]
    if isinstance(value, float):
        return [*options, value * (1 + 2**-50), value * 0.999, value + 1e-9]
    if isinstance(value, str):
        last = value[-1:]
        return [*options, value[:-1] + ("1" if last == "0" else "0"), value + "0"]
    if isinstance(value, list):
        changed = [[*value[:-1], other] for other in _other_items(schema, value)]
        return [*changed, value[::-1], value[:-1], value[1:]]
    if isinstance(value, dict):
        return [{name: item for name, item in value.items() if name != gone} for gone in value] + [
            {**value, name: other} for name, item in value.items() for other in _other_entries(schema, item)
        ]
    raise AssertionError(key)


def _other_entries(schema: dict[str, Any], item: object) -> list[Any]:
    if isinstance(item, int):
        return [item + 1]
    if isinstance(item, list):
        return [[*item, "another"]]
    allowed = schema.get("additionalProperties", {})
    if isinstance(item, str) and "enum" not in allowed:
        return [item + "0"]
    return [other for other in allowed.get("enum", ()) if other != item]


def _other_items(schema: dict[str, Any], value: list[Any]) -> list[Any]:
    last = value[-1] if value else ""
    if isinstance(last, str):
        return [item for item in schema["items"].get("enum", [last + "0"]) if item != last]
    return [last * (1 + 2**-50) if isinstance(last, float) else last - 1]


def _unseen_changes(good: LoadedContract, key: str) -> list[str]:
    """What is wrong with the digests and differences of a knob's other values."""
    value, wrong = good.values[key], []
    seen, tried = {good.digest}, [value]
    of_pixels = key.split(".", maxsplit=1)[0] in {"pixel_pipeline", "face_detector"}
    for other in _other_values(key, value):
        try:
            changed = good.with_values({key: other})
        except ContractError:
            continue
        if changed.values[key] in tried:
            continue
        tried.append(changed.values[key])
        found = diff(good, changed)
        right = {
            "digest": changed.digest not in seen,
            "preprocessing digest": (changed.preprocessing_digest != good.preprocessing_digest) == of_pixels,
            "difference": bool(found) and all(item.key == key or item.key.startswith(f"{key}.") for item in found),
            "difference from itself": not diff(changed, changed),
        }
        wrong += [f"{key} = {other}: {name}" for name, holds in right.items() if not holds]
        seen.add(changed.digest)
    schema = value_schema(key)
    single = "const" in schema or schema.get("minItems") == schema.get("maxItems") == 1
    return wrong if len(seen) > 1 or single else [*wrong, f"{key}: no other value was tried"]


# knobs that have one possible value beside the shipped ones of others, and what makes room
CLASSES: dict[str, Any] = {
    "model_interface.output_kind": "class_logits",
    "model_interface.class_names": ["real", "fake"],
    "model_interface.map_name": {"tflite": "", "onnx": ""},
    "pooling.rule": "none",
    "patch_grid.rows": 1,
    "patch_grid.cols": 1,
}
ROOM: dict[str, dict[str, Any]] = {
    "face_detector.name": {"face_detector.second_look": "off"},
    "model_interface.class_names": CLASSES,
    "model_interface.output_kind": CLASSES,
}


def test_every_change_of_a_value_changes_the_digest(good: LoadedContract) -> None:
    assert [text for key in KEYS for text in _unseen_changes(good.with_values(ROOM.get(key, {})), key)] == []


def _unseen_status(good: LoadedContract, key: str) -> list[str]:
    """What is wrong with the digests after a knob's status, experiment or line changed."""
    old = good.provenance[key]
    changed = good.with_values({key: good.values[key]}, status="frozen" if old.status == "proposed" else "proposed")
    moved = good.provenance | {key: Provenance(old.status, "E9.9", old.line)}
    shifted = good.provenance | {key: Provenance(old.status, old.set_by, old.line + 7)}
    right = {
        "digest of another status": changed.digest != good.digest,
        "preprocessing digest": changed.preprocessing_digest == good.preprocessing_digest,
        "difference": bool(diff(good, changed)),
        "digest of another experiment": contract_digest(good.policy, moved, good.written) != good.digest,
        "digest of another line": contract_digest(good.policy, shifted, good.written) == good.digest,
    }
    return [f"{key}: {name}" for name, holds in right.items() if not holds]


def test_every_change_of_status_changes_the_digest(good: LoadedContract) -> None:
    """Of a knob that stands in the file as it is meant; one that its older schema lacks is in no digest."""
    keys = [key for key in KEYS if key not in good.written]
    assert len(keys) > 150
    assert [text for key in keys for text in _unseen_status(good, key)] == []


def test_one_and_one_point_zero(good: LoadedContract) -> None:
    whole = good.with_values({"quality_gates.blur_threshold": 40, "patch_grid.operator_scale": 1})
    point = good.with_values({"quality_gates.blur_threshold": 40.0, "patch_grid.operator_scale": 1.0})
    assert whole.digest == point.digest
    minus = good.with_values({"quality_gates.blur_threshold": -0.0})
    assert minus.digest == good.with_values({"quality_gates.blur_threshold": 0}).digest


def test_diff_names_stages_and_gates(good: LoadedContract) -> None:
    (change,) = diff(good, good.with_values({"pixel_pipeline.resize_kernel": "bicubic"}))
    assert (change.kind, change.stages[0], change.stages[-1]) == ("changed", "S3", "S8")
    assert "G1" in change.gates
    codes: dict[str, Value] = dict(good.policy.reason_codes.codes)
    code = codes.pop("no_face")
    kinds = {
        item.key: item.kind for item in diff(good, good.with_values({"reason_codes.codes": codes | {"no_man": code}}))
    }
    assert kinds == {"reason_codes.codes.no_face": "removed", "reason_codes.codes.no_man": "added"}


def test_a_tolerance_moves_no_stage_but_its_gate() -> None:
    assert [key for key in KEYS if ".tolerance_" in key and affected_stages(key)] == []
    decided = [key for key in KEYS if knob_fields()[key].set_by.startswith("E")]
    assert [key for key in decided if not affected_gates(key)] == []
    assert len(decided) > len(KEYS) // 2
