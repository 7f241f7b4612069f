"""Frozen stages: a changed, missing or unused file is red, and freezing again says what changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecdd.bundle import bundle_path, load_bundle
from ecdd.evidence.stage_snapshots import numbers_close
from ecdd.golden.golden_hashes import read_s3, s3_png
from gates.mutants.warm_processes import Finished, run_pytest
from gates.support.moved_stages import moved_stages

ROOT = Path(__file__).resolve().parents[3]
STAGES = "gates/g1/units/test_golden_stages.py"
OUTPUTS = "gates/g3/units/test_golden_outputs.py"
# what damage does to three pictures, the others need not repeat; one more stays as it was
SOME = ("-k", "real_collins or real_hopper or real_coelho or real_oath_a or no_stage")
ONE = ("-k", "real_collins or no_output")


class Frozen:
    """Copies of the golden set and the bundle, which a test may damage."""

    def __init__(self, folder: Path) -> None:
        self.golden, self.bundle, self.reports = folder / "golden", folder / "bundle", folder / "reports"
        shutil.copytree(ROOT / "golden", self.golden)
        shutil.copytree(bundle_path("tiny"), self.bundle)

    def run(self, *arguments: str) -> Finished:
        options = ("--golden", str(self.golden), "--bundle", str(self.bundle))
        return run_pytest(arguments, self.reports, options=options)

    @property
    def stages(self) -> Path:
        return self.golden / "stages"


@pytest.fixture
def copies(tmp_path: Path) -> Frozen:
    return Frozen(tmp_path)


def _edit_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _change_one_level(path: Path, by: int) -> None:
    s3 = read_s3(path.read_bytes()).copy()
    s3[0, 0, 0] ^= by
    path.write_bytes(s3_png(s3))


def test_damage_is_red_and_frozen_again_by_name(copies: Frozen) -> None:
    # one level is damage only where this very kind of processor froze the stages, so they are frozen here first
    assert copies.run(STAGES, *SOME, "--snapshot-update").exit_code == 0
    changed, missing, level = "real_collins", "real_hopper", "real_coelho"
    _edit_json(copies.stages / f"{changed}.json", lambda content: content.update(S1="sha256-other"))
    (copies.stages / f"{missing}.json").unlink()
    _change_one_level(copies.stages / f"{level}.face0.png", 1)
    (copies.stages / "nobody.json").write_text("{}", encoding="utf-8")
    result = copies.run(STAGES, *SOME)
    assert result.exit_code == 1, result.output[-2000:]
    red = {line.split()[1].partition("::")[2] for line in result.output.splitlines() if line.startswith("FAILED ")}
    assert red == {f"test_stages_equal_frozen[{name}]" for name in (changed, missing, level)} | {
        "test_no_stage_is_missing_or_unused"
    }
    for name, stage in ((changed, "S1"), (level, "S3")):
        assert f"{name}: the first stage that moved is {stage}" in result.output
    again = copies.run(STAGES, *SOME, "--snapshot-update")
    assert again.exit_code == 0, again.output[-2000:]
    said = {line.removeprefix("frozen again: ") for line in again.output.splitlines() if line.startswith("frozen ")}
    assert said == {
        f"{changed}: S1",
        f"{missing}: new",
        f"{level}: S3",
        "nobody.json: removed, no golden picture has it",
    }
    assert copies.run(STAGES, *SOME).exit_code == 0


def test_freezing_is_refused_with_workers(copies: Frozen) -> None:
    result = copies.run(STAGES, "--snapshot-update", "-p", "xdist.plugin", "-n", "2")
    assert result.exit_code == 4
    assert "--snapshot-update runs in one process" in result.output


def test_another_decoder_is_compared_within_tolerance(copies: Frozen) -> None:
    """S1 and S4 may differ and one level of S3 too, when another decoder froze them; two levels may not."""
    for path in sorted(copies.stages.glob("*.json")):
        _edit_json(path, lambda content: content.update(decoder={"pillow": "0"}, S1="sha256-other"))
    path = copies.stages / "real_collins.face0.png"
    _change_one_level(path, 1)
    assert copies.run(STAGES, *SOME).exit_code == 0
    _change_one_level(path, 16)
    assert copies.run(STAGES, "-k", "real_collins").exit_code == 1


def test_numbers_are_close_only_in_values_of_one_form() -> None:
    limits = {"box": 0.5}
    assert numbers_close({"box": [1, 2.0]}, {"box": [1.4, 2]}, limits)
    for other in ([1.6, 2], [1, 2, 3], 1, None, "12", {"0": 1, "1": 2}):
        assert not numbers_close({"box": [1, 2]}, {"box": other}, limits), other
        assert not numbers_close({"box": other}, {"box": [1, 2]}, limits), other
    assert not numbers_close({"score": [1, 2]}, {"score": [1.4, 2]}, limits), "no tolerance has its name"


def test_the_first_stage_that_moved_is_named(prepared: Any, frozen: Any, golden: Any, policy: Any) -> None:
    """Whatever moves in one picture, alone or with everything behind it, E1.3 says where it began."""
    key = "real_collins"
    stored = frozen.pictures[key]
    face = stored.faces[0]
    assert moved_stages(prepared, frozen, golden, policy) == "none"
    later = dataclasses.replace(face, s3=face.s3 ^ 1, s4_digest="other")
    for stage, change in {
        "S0": {"s0": "other", "s1_digest": "other", "faces": (later,)},
        "S1": {"s1_digest": "other", "faces": (later,)},
        "S2": {"faces": (dataclasses.replace(later, box=(0.0, 0.0, 99.0, 99.0)),)},
        "S3": {"faces": (later,)},
        "S4": {"faces": (dataclasses.replace(face, s4_digest="other"),)},
    }.items():
        pictures = {**frozen.pictures, key: dataclasses.replace(stored, **change)}
        said = moved_stages(prepared, dataclasses.replace(frozen, pictures=pictures), golden, policy)
        assert said == f"{stage} in 1 of {len(golden.items)} pictures, {key} first"


def test_outputs_of_another_model_are_stale(copies: Frozen) -> None:
    from ecdd.bundle.writing import write_manifest

    index = copies.bundle / "golden_outputs" / "index.json"
    _edit_json(index, lambda content: content.update(model_sha256="0" * 64))
    write_manifest(copies.bundle)
    result = copies.run(OUTPUTS, *ONE)
    assert result.exit_code == 1
    assert "computed with other files" in result.output
    before = load_bundle(copies.bundle).payload_digest
    again = copies.run(OUTPUTS, *ONE, "--snapshot-update")
    assert again.exit_code == 0, again.output[-2000:]
    assert f"payload digest: {before[:16]} is now" in again.output
    assert copies.run(OUTPUTS).exit_code == 0, "all the others are what this bundle's files compute"


def test_a_bundle_without_outputs_is_not_tested(copies: Frozen) -> None:
    from ecdd.bundle.writing import write_manifest

    shutil.rmtree(copies.bundle / "golden_outputs")
    write_manifest(copies.bundle)
    result = copies.run(OUTPUTS)
    assert result.exit_code == 0
    assert "not tested: the bundle has no golden outputs" in result.output
    assert " passed" not in result.output


def test_a_missing_picture_is_named(copies: Frozen) -> None:
    """A golden picture that is gone is no smaller set: nothing of it is judged."""
    next((copies.golden / "in_scope").glob("real_collins.*")).unlink()
    result = copies.run(STAGES)
    assert result.exit_code not in (0, 5)
    assert "real_collins" in result.output
    assert " passed" not in result.output


def test_a_stale_model_is_refused(copies: Frozen) -> None:
    """Last week's file under this week's name: its digest is not the listed one, and nothing is computed with it."""
    shutil.copy(copies.bundle / "variants" / "full_int8" / "model.tflite", copies.bundle / "model.tflite")
    result = copies.run(OUTPUTS)
    assert result.exit_code == 1
    assert "mismatched files: model.tflite" in result.output
    assert " passed" not in result.output
