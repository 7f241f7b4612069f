"""Training: harmonised variants, balance between classes, split of groups, resuming."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ecdd.bundle import load_bundle
from ecdd.contract.contract_error import ContractError
from ecdd.contract.loading import load_contract
from ecdd.contract.value_lines import set_contract_values
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.usable_faces import usable_faces
from ecdd.pipeline.preprocess import CropBox
from ecdd.pipeline.quality import FaceQuality
from ecdd.training.cache import Variant, cache_folder
from ecdd.training.config import TrainingConfig, TrainingError, load_config
from ecdd.training.harmonise import is_grey, make_variant, plan_variants
from ecdd.training.processes import Processes
from ecdd.training.sampling import balanced, draw
from ecdd.training.shortcut_baseline import FEATURES, features, shortcut_baseline
from ecdd.training.source_folds import SourceFold, fold_parts
from ecdd.training.trainer import LOG_FILE, Start, outcome, train_network

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "configs" / "student.yaml"
EDGES = [60.0, 100.0]
ALONE = Processes(0, 1, "cpu")


@pytest.fixture(scope="module")
def config() -> TrainingConfig:
    return load_config(CONFIG)


@pytest.fixture
def variants(tmp_path: Path) -> list[Variant]:
    """24 pictures with 2 tensors each; fakes have noise in single pixels, reals in blocks of two."""
    rng, made = np.random.default_rng(0), []
    for k in range(24):
        label, noise = k % 2, rng.integers(-20, 20, (2, 256, 256, 3))
        if not label:
            noise = noise[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
        path = tmp_path / f"{k:064x}.npy"
        np.save(path, (128 + noise).astype(np.uint8))
        for row in range(2):
            quality = FaceQuality(100.0 + k, (50.0, 80.0)[row], 80.0, "exact", 1.0 + 0.01 * label)
            made.append(
                Variant(
                    sha256=path.stem,
                    group=f"group {k // 2 * 2 + label}",
                    source=("portraits", "generator")[label] + str(k % 3),
                    label=label,
                    kind="harmonised",
                    stratum=row,
                    grey=False,
                    crop_side=130,
                    quality=quality,
                    file=path,
                    row=row,
                )
            )
    return made


def test_plans_are_seeded_and_keep_to_what_reducing_can_reach(config: TrainingConfig) -> None:
    plans = plan_variants(300, False, config.harmonise, 1, "ab" * 32)
    assert plans == plan_variants(300, False, config.harmonise, 1, "ab" * 32)
    assert plans != plan_variants(300, False, config.harmonise, 1, "cd" * 32)
    edges = config.harmonise.crop_side_edges
    assert {p.stratum for p in plans} == {k for k in range(len(edges) - 1) if edges[k + 1] <= 0.95 * 300}
    assert all(edges[p.stratum] <= p.target <= edges[p.stratum + 1] for p in plans)
    assert plan_variants(90, False, config.harmonise, 1, "ab" * 32) == []
    assert all(p.grey for p in plan_variants(300, True, config.harmonise, 1, "ab" * 32))


def test_variant_is_a_bare_jpeg_of_the_planned_size_and_colour(config: TrainingConfig) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (600, 500, 3)).astype(np.uint8)
    image, crop = Image.fromarray(pixels), CropBox(100, 150, 400, 450)
    for plan in plan_variants(300, False, config.harmonise, 1, "ab" * 32)[:6]:
        data = make_variant(image, crop, plan)
        made = Image.open(io.BytesIO(data))
        assert made.format == "JPEG"
        assert not made.getexif()
        assert "icc_profile" not in made.info
        assert is_grey(made.convert("RGB")) == plan.grey
        width = (min(plan.margins[2] * 300, 100) + min(plan.margins[0] * 300, 100) + 300) * plan.target / 300
        assert made.width == pytest.approx(width, abs=2)
        assert data == make_variant(image, crop, plan)


def test_draws_tell_nothing_of_size_sharpness_or_colour(variants: list[Variant]) -> None:
    data = balanced(variants, EDGES)
    positions = draw(data, 4000, np.random.default_rng(1))
    drawn = [data.variants[int(k)] for k in positions]
    labels = np.array([v.label for v in drawn])
    assert labels.mean() == 0.5
    for read in (lambda v: v.stratum, lambda v: v.quality.blur, lambda v: v.grey):
        values = np.array([float(read(v)) for v in drawn])
        assert values[labels == 0].mean() == pytest.approx(values[labels == 1].mean(), abs=1e-9)


def test_weights_give_both_classes_the_same_mass_in_every_cell(variants: list[Variant]) -> None:
    data = balanced(variants, EDGES)
    weights, labels = data.weights(), data.labels()
    for cell, mass in data.cell_masses().items():
        inside = np.array([(v.stratum, int(v.quality.blur > 60), v.grey) == cell for v in data.variants])
        for label in (0, 1):
            assert weights[inside & (labels == label)].sum() == pytest.approx(mass)


def test_cell_with_one_class_is_dropped_and_counted(variants: list[Variant]) -> None:
    lone = [dataclasses.replace(v, stratum=5) for v in variants if v.label == 1 and v.stratum == 0]
    data = balanced([v for v in variants if not (v.label == 1 and v.stratum == 0)] + lone, EDGES)
    assert data.dropped == {"real": 12, "fake": 12}
    with pytest.raises(TrainingError, match="common to reals and fakes"):
        balanced([v for v in variants if v.label == 1], EDGES)


def test_what_is_left_out_is_in_no_other_part(variants: list[Variant]) -> None:
    fold = SourceFold("ours", ("generator1",), "portraits0")
    parts = fold_parts(variants, fold, 0.34, 3, 100)
    assert {v.source for v in parts.test} == {"generator1", "portraits0"}
    assert len(parts.test) == sum(v.source in {"generator1", "portraits0"} for v in variants)
    assert parts.validation
    groups = [{v.group for v in part} for part in (parts.train, parts.validation, parts.test)]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert {v.label for v in parts.train} == {v.label for v in parts.validation} == {0, 1}
    thin = fold_parts(variants, fold, 0.34, 3, 1)
    assert len(thin.test) == len({v.sha256 for v in parts.test})
    with pytest.raises(TrainingError, match="no usable picture of source nobody"):
        fold_parts(variants, SourceFold("ours", ("nobody",), "portraits0"), 0.34, 3, 1)


def test_a_swap_with_a_person_of_another_part_is_left_out(variants: list[Variant]) -> None:
    fold = SourceFold("ours", ("generator1",), "portraits0")
    before = fold_parts(variants, fold, 0.34, 3, 100)
    kept, held, tested = (part[0].group for part in (before.train, before.validation, before.test))
    real = next(v for v in before.train if not v.label)
    swaps = [
        dataclasses.replace(real, kind="forged", label=1, generator="face_swap", row=k, partner_group=group)
        for k, group in enumerate((kept, held, tested))
    ]
    after = fold_parts([*variants, *swaps], fold, 0.34, 3, 100)
    assert [v.partner_group for v in after.train if v.kind == "forged"] == [kept]
    assert [v for v in (*after.validation, *after.test) if not v.is_given] == []


def test_forgeries_are_drawn_in_their_share(variants: list[Variant]) -> None:
    forged = [dataclasses.replace(v, kind="forged", label=1, generator="blend") for v in variants if not v.label]
    data = balanced([*variants, *forged], EDGES)
    for share in (0.0, 0.25, 1.0):
        positions = draw(data, 4000, np.random.default_rng(1), share)
        drawn = [data.variants[int(k)] for k in positions]
        fakes = [v for v in drawn if v.label]
        assert len(fakes) == 2000
        assert np.mean([v.kind == "forged" for v in fakes]) == pytest.approx(share, abs=0.05)


def _small(config: TrainingConfig, epochs: int) -> TrainingConfig:
    changes = {"epochs": epochs, "draws": 32, "batch": 8, "crop": 64, "warmup_epochs": 0, "learning_rate": 0.02}
    optimise = config.optimise.model_copy(update=changes)
    return config.model_copy(update={"optimise": optimise, "augment": None, "forgeries": None})


def test_training_learns_and_a_resumed_one_equals_an_unbroken_one(
    config: TrainingConfig, variants: list[Variant], tmp_path: Path
) -> None:
    policy, data = load_bundle("tiny").contract.policy, balanced(variants, EDGES)
    watched = balanced(variants[:16], EDGES)
    settings = _small(config, 4)
    torch.set_num_threads(1)
    try:
        unbroken = list(train_network(settings, policy, data, watched, tmp_path / "a", Start(), ALONE))
        steps = train_network(settings, policy, data, watched, tmp_path / "b", Start(), ALONE)
        next(steps), next(steps)
        steps.close()
        resumed = list(train_network(settings, policy, data, watched, tmp_path / "b", Start(), ALONE))
        first, second = (outcome(settings, policy, tmp_path / name) for name in "ab")
    finally:
        torch.use_deterministic_algorithms(False)
    assert [dataclasses.replace(r, seconds=0) for r in unbroken] == [dataclasses.replace(r, seconds=0) for r in resumed]
    assert all(torch.equal(v, second.model.state_dict()[k]) for k, v in first.model.state_dict().items())
    assert unbroken[-1].validation_auc > 0.95
    assert len((tmp_path / "a" / LOG_FILE).read_text().splitlines()) == 5
    (tmp_path / "a" / "state.pt").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="cannot resume"):
        outcome(settings, policy, tmp_path / "a")


def test_shortcut_baseline_finds_a_planted_shortcut_and_nothing_else(variants: list[Variant]) -> None:
    ones = np.ones(len(variants))
    assert features(variants).shape == (len(variants), len(FEATURES))
    planted = shortcut_baseline((variants, ones), (variants, ones), 0)
    assert planted.single["blockiness"] == 1.0
    assert planted.auc > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed: 20", "seed: -1"),
        ("epochs: 10", "epochs: many"),
        ("draws:", "drawz:"),
        ("[96, 120,", "[120, 96,"),
        ("epochs: 10", "mixup: 0.2\n  epochs: 10"),
        ("epochs: 10", "skipped_blocks: 0.1\n  epochs: 10"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: str, message: str) -> None:
    text = CONFIG.read_text()
    assert change in text
    path = tmp_path / "student.yaml"
    path.write_text(text.replace(change, message))
    with pytest.raises(TrainingError, match=r"student\.yaml: \w+"):
        load_config(path)


def test_cache_of_another_contract_or_setting_is_another_folder(config: TrainingConfig, tmp_path: Path) -> None:
    contract = load_contract(ROOT / "contracts" / "policy_contract.yaml")
    other = contract.with_values({"face_detector.crop_margin": 1.5})
    again = config.model_copy(update={"seed": 21})
    folders = [cache_folder(tmp_path, c, s) for c, s in ((contract, config), (other, config), (contract, again))]
    assert len(set(folders)) == 3
    gates = contract.with_values({"quality_gates.blur_threshold": 31.0})
    assert cache_folder(tmp_path, gates, config) == folders[0]


def test_test_pictures_cannot_be_asked_for(tmp_path: Path) -> None:
    def pair(tag: LineageTag, sha: str) -> tuple[ManifestRow, SplitRow]:
        row = ManifestRow(tmp_path / sha, sha, 0, "face", "s", None, sha)
        return row, SplitRow(sha, tag, sha, "unknown", "0", "face", "s")

    pairs = [pair(LineageTag.TRAIN, "a" * 64), pair(LineageTag.TEST_NEVER_TOUCH, "b" * 64)]
    split = DataSplit({tag.sha256: tag for _, tag in pairs}, "digest")
    manifest = [row for row, _ in pairs]
    assert [row.sha256 for row, _ in usable_faces(manifest, split, [LineageTag.TRAIN])] == ["a" * 64]
    with pytest.raises(LineageError, match="read by gates only"):
        usable_faces(manifest, split, [LineageTag.TRAIN, LineageTag.TEST_NEVER_TOUCH])
    with pytest.raises(LineageError, match="no face with lineage CALIBRATION"):
        usable_faces(manifest, split, [LineageTag.CALIBRATION])


def test_contract_text_keeps_everything_but_the_value() -> None:
    text = (ROOT / "contracts" / "policy_contract.yaml").read_text()
    out = set_contract_values(text, {"operating_point.t_fake": 0.987654}, "frozen")
    changed = [(a, b) for a, b in zip(text.splitlines(), out.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][1] == "  t_fake: {value: 0.987654, status: frozen, set_by: E4.4}"
    with pytest.raises(ContractError, match=r"pooling\.t_fake"):
        set_contract_values(text, {"pooling.t_fake": 0.5}, "frozen")
