"""Fine-tuning on faces: what is drawn, what is done to it, twins, and a training that resumes to the same bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from ecdd.commands.train import LITE_CONFIG
from ecdd.contract.loading import load_contract
from ecdd.pipeline.face import face_crop_box
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.preprocess import CropBox
from ecdd.specification import GOLDEN, SPLIT
from ecdd.training.batches import mixed
from ecdd.training.config import DrawShares, FaceTrainingConfig, TrainingError, load_face_config
from ecdd.training.degradations import degrade, harmonise
from ecdd.training.face_draws import MEASURED_NATIVE, MEASURED_SIDE, Drawn, FaceDraws, FaceSet, measured_tensors
from ecdd.training.face_regions import TWIN, FaceRegion, cut_region, find_face, twin_candidates
from ecdd.training.face_run import summarise
from ecdd.training.forgeries.latent_twin import LatentAutoencoder, make_twin
from ecdd.training.optimising import mean_with_start
from ecdd.training.own_forgeries import fill_forgeries, load_forgeries
from ecdd.training.processes import Processes
from ecdd.training.trainer import Start, outcome, seeded_network, train_network

CONTRACT = load_contract()
PIXELS = CONTRACT.policy.pixel_pipeline
CONFIG = load_face_config(LITE_CONFIG)
ALONE = Processes(0, 1, "cpu")


def region(place: Path, name: str, label: int, source: str, pair: str = "", generator: str = "") -> FaceRegion:
    """A smooth random picture with a crop in the middle."""
    rng = np.random.default_rng(list(name.encode()))
    noise = rng.integers(0, 256, (14, 14, 3), np.uint8)
    picture = np.asarray(Image.fromarray(noise).resize((260, 260), Image.Resampling.BICUBIC))
    file = place / f"{name}{generator}{label}.npy"
    np.save(file, picture)
    np.save(file.with_suffix(".s3.npy"), np.zeros((256, 256, 3), np.uint8))
    crop = CropBox(20, 20, 240, 240)
    return FaceRegion(name, name, source, label, "TRAIN", pair, crop, "portrait", 0.9, 220, False, file, (), generator)


@pytest.fixture
def regions(tmp_path: Path) -> list[FaceRegion]:
    found = [region(tmp_path, f"r{k}", 0, "photos") for k in range(16)]
    found += [region(tmp_path, f"g{k}", 1, "large") for k in range(16)] + [region(tmp_path, "h0", 1, "small")]
    for k in range(4):
        found += [region(tmp_path, f"s{k}", 1, "swaps", f"p{k}"), region(tmp_path, f"o{k}", 0, "film", f"p{k}")]
    return found


def draws(regions: list[FaceRegion], shares: DrawShares | None = None) -> FaceDraws:
    return FaceDraws(regions, PIXELS, CONFIG.degradations, shares or DrawShares(), 7)


def test_classes_are_equal_and_fakes_come_beside_their_originals(regions: list[FaceRegion]) -> None:
    drawn = draws(regions)._draw(400, np.random.default_rng(0))
    assert sum(one.label for one in drawn) == 200
    for fake, real in zip(drawn[::2], drawn[1::2], strict=True):
        assert (fake.label, real.label) == (1, 0)
        assert real.region.pair == fake.region.pair
    counts = {name: sum(one.region.source == name for one in drawn) for name in ("large", "small", "swaps")}
    # by the root of their sizes 16, 1 and 4: 4 to 1 to 2
    assert counts["large"] / 200 == pytest.approx(4 / 7, abs=0.1)
    assert counts["swaps"] / 200 == pytest.approx(2 / 7, abs=0.1)


def test_twins_share_their_degradation_and_are_no_source_of_reals(regions: list[FaceRegion], tmp_path: Path) -> None:
    twins = [region(tmp_path, f"r{k}", label, "photos", generator=TWIN) for k in range(16) for label in (0, 1)]
    data = draws([*regions, *twins])
    drawn = data._draw(400, np.random.default_rng(0))
    pairs = [(a, b) for a, b in zip(drawn[::2], drawn[1::2], strict=True) if a.region.generator == TWIN]
    assert pairs
    assert all(a.region.sha256 == b.region.sha256 and a.seed == b.seed and b.region.generator for a, b in pairs)
    assert all(not b.region.generator for a, b in zip(drawn[::2], drawn[1::2], strict=True) if not a.region.generator)
    same = (data._made(pairs[0][0]), data._made(pairs[0][1]))
    assert np.array_equal(*same)  # their pictures are equal here, so equal tensors show equal degradation


def test_self_blended_fakes_differ_from_their_reals(regions: list[FaceRegion]) -> None:
    data = draws(regions, DrawShares(blended=1.0))
    fake, real = data._draw(2, np.random.default_rng(1))
    assert fake.forged == "self_blended"
    assert fake.region == real.region
    assert not np.array_equal(data._made(fake), data._made(real))


def test_composites_keep_the_head_and_take_parts_of_another_face(regions: list[FaceRegion]) -> None:
    data = draws(regions, DrawShares(composited=1.0))
    drawn = data._draw(40, np.random.default_rng(1))
    assert {one.forged for one in drawn[::2]} == {"part_composite"}
    for fake, real in zip(drawn[::2], drawn[1::2], strict=True):
        changed = np.abs(data._forgery(fake).astype(int) - real.region.pixels()).max(axis=2) > 0
        assert 0.005 < changed.mean() < 0.6
        assert not changed[:20].any()  # above the face crop


def test_a_face_without_another_of_its_source_is_blended_into_itself(regions: list[FaceRegion], tmp_path: Path) -> None:
    alone = region(tmp_path, "alone", 0, "archive")
    data = draws([*regions, alone], DrawShares(composited=1.0))
    blended = draws([*regions, alone], DrawShares(blended=1.0))
    made = [
        one._forgery(Drawn(alone, 1, kind, 5)) for one, kind in ((data, "part_composite"), (blended, "self_blended"))
    ]
    assert np.array_equal(*made)


def test_shares_of_forgeries_are_as_asked(regions: list[FaceRegion]) -> None:
    drawn = draws(regions, DrawShares(blended=0.2, composited=0.3))._draw(2000, np.random.default_rng(0))
    counts = {kind: sum(one.forged == kind for one in drawn) / 1000 for kind in ("self_blended", "part_composite")}
    assert counts == pytest.approx({"self_blended": 0.2, "part_composite": 0.3}, abs=0.04)
    assert not any(one.forged for one in drawn[1::2])


def test_a_source_is_drawn_more_often_by_its_weight(regions: list[FaceRegion]) -> None:
    drawn = draws(regions, DrawShares(source_weights={"small": 4.0}))._draw(2000, np.random.default_rng(0))
    # by the root of their sizes 16, 1 and 4 and the weight: 4 to 4 to 2
    assert sum(one.region.source == "small" for one in drawn) / 1000 == pytest.approx(0.4, abs=0.05)
    with pytest.raises(TrainingError, match="source_weights: no face of source smal is trained on"):
        draws(regions, DrawShares(source_weights={"smal": 2.0}))


def test_batches_depend_on_their_place_alone(regions: list[FaceRegion]) -> None:
    one, other = draws(regions), draws(list(reversed(regions)))
    first = one.batch(8, 192, (3, 16))
    assert first.tensors.shape == (8, 3, 192, 192)
    assert torch.equal(first.tensors, other.batch(8, 192, (3, 16)).tensors)
    assert not torch.equal(first.tensors, one.batch(8, 192, (3, 24)).tensors)


def test_a_missing_class_is_named(regions: list[FaceRegion]) -> None:
    with pytest.raises(TrainingError, match="no fake face"):
        draws([one for one in regions if not one.label])


def test_degraded_faces_are_s3_and_follow_the_generator_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    crop = CropBox(30, 30, 270, 270)
    made = [degrade(picture, crop, PIXELS, CONFIG.degradations, np.random.default_rng(k)) for k in range(60)]
    assert all(one.shape == (256, 256, 3) and one.dtype == np.uint8 for one in made)
    again = degrade(picture, crop, PIXELS, CONFIG.degradations, np.random.default_rng(5))
    assert np.array_equal(again, made[5])
    assert len({one.tobytes() for one in made}) == 60


def test_harmonised_faces_have_lost_what_is_finer_than_their_side() -> None:
    """Noise of single pixels is gone: every face was reduced to `MEASURED_SIDE` at most."""
    picture = np.random.default_rng(0).integers(0, 256, (260, 260, 3), np.uint8)
    made = harmonise(picture, CropBox(20, 20, 240, 240), PIXELS, MEASURED_SIDE, np.random.default_rng(2))
    steps = np.abs(np.diff(made.astype(np.float64), axis=1)).mean()
    assert steps < 0.5 * np.abs(np.diff(picture.astype(np.float64), axis=1)).mean()


def test_small_faces_are_not_harmonised_but_scored_as_files(regions: list[FaceRegion], tmp_path: Path) -> None:
    from dataclasses import replace

    small = replace(regions[0], native_side=MEASURED_NATIVE - 1)
    faces = [small, regions[1]]
    assert len(list(measured_tensors(faces, PIXELS, "file", 1))) == 2
    (kept,) = measured_tensors(faces, PIXELS, "harmonised", 1)
    assert kept.region == regions[1]


def test_regions_are_reduced_once_and_landmarks_follow() -> None:
    image = Image.new("RGB", (2000, 1600))
    pixels, crop, marks = cut_region(image, CropBox(500, 300, 1396, 1196), [(500.0, 300.0), (1396.0, 1196.0)], 3)
    assert crop.x1 - crop.x0 == 448
    assert pixels.shape[0] <= 448 * 1.3
    assert marks[0] == pytest.approx((crop.x0, crop.y0), abs=1.5)
    assert marks[1] == pytest.approx((crop.x1, crop.y1), abs=1.5)


def test_twins_are_made_of_every_source_by_turns(regions: list[FaceRegion]) -> None:
    chosen = twin_candidates(regions, 6)
    assert [one.source for one in chosen] == ["film", "photos"] * 3
    assert not any(one.label for one in chosen)


def test_twin_and_original_are_of_one_size_and_differ(tmp_path: Path) -> None:
    """With random weights of the right shape: the real ones are a file of the user's."""
    from ecdd.training.forgeries.latent_twin import DECODER_NAME, ENCODER_NAME, _decoder, _encoder

    torch.manual_seed(0)
    torch.save(_encoder().half().state_dict(), tmp_path / ENCODER_NAME)
    torch.save(_decoder().half().state_dict(), tmp_path / DECODER_NAME)
    picture = np.random.default_rng(0).integers(0, 256, (201, 150, 3), np.uint8)
    twin, original, crop = make_twin(picture, CropBox(10, 20, 130, 140), LatentAutoencoder(tmp_path), 1)
    assert twin.shape == original.shape == (200, 144, 3)
    assert not np.array_equal(twin, original)
    assert 0 <= crop.x0 < crop.x1 <= 144
    assert 0 <= crop.y0 < crop.y1 <= 200


def quick(**more: float) -> FaceTrainingConfig:
    """The settings of `lite` with few pictures, for the regression that the heads begin as too."""
    changed = more | {"epochs": 2, "draws": 8, "batch": 4, "crop": 64, "full_size_epochs": 0, "warmup_epochs": 0}
    changed["head_start_draws"] = 32
    return CONFIG.model_copy(update={"optimise": CONFIG.optimise.model_copy(update=changed)})


def test_interrupted_training_of_lite_resumes_to_the_same_bit(regions: list[FaceRegion], tmp_path: Path) -> None:
    config, policy = quick(mixup=0.2, skipped_blocks=0.5), CONTRACT.policy
    watched = FaceSet(list(measured_tensors(regions[:1] + regions[16:17], PIXELS, "harmonised", 1)))
    whole = list(train_network(config, policy, draws(regions), watched, tmp_path / "a", Start(), ALONE))
    steps = train_network(config, policy, draws(regions), watched, tmp_path / "b", Start(), ALONE)
    next(steps)
    steps.close()
    resumed = list(train_network(config, policy, draws(regions), watched, tmp_path / "b", Start(), ALONE))
    assert [one.loss for one in whole] == [one.loss for one in resumed]
    first, second = (outcome(config, policy, tmp_path / name).model.state_dict() for name in ("a", "b"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(float(value.abs().sum()) > 0 for key, value in first.items() if key.startswith("heads."))


def test_mixed_pictures_are_mostly_their_own_and_so_are_their_labels(regions: list[FaceRegion]) -> None:
    plain = draws(regions).batch(8, 64, (1, 0))
    once, again = (mixed(plain, 1.0, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(once.tensors, again.tensors)
    share = (once.labels - plain.labels).abs()
    assert float(share.max()) > 0.05
    assert float(share.max()) <= 0.5
    moved = (once.tensors - plain.tensors).flatten(1).norm(dim=1) / plain.tensors.flatten(1).norm(dim=1)
    assert bool((moved[share > 0.05] > 0).all())
    other = np.random.default_rng(3)
    drawn = other.beta(1.0, 1.0, 8).astype(np.float32)
    part, order = torch.from_numpy(np.minimum(drawn, 1 - drawn)), torch.from_numpy(other.permutation(8))
    expected = plain.labels * (1 - part) + plain.labels[order] * part
    assert torch.allclose(once.labels, expected, atol=1e-6)
    assert torch.equal(once.known, plain.known & plain.known[order])


def test_frozen_layers_stay_and_the_rest_learns(regions: list[FaceRegion], tmp_path: Path) -> None:
    optimise = quick().optimise.model_copy(update={"freeze": ("stem", r"blocks\.0\."), "norm_statistics": "kept"})
    config = quick().model_copy(update={"optimise": optimise})
    watched = FaceSet(list(measured_tensors(regions[:1] + regions[16:17], PIXELS, "harmonised", 1)))
    list(train_network(config, CONTRACT.policy, draws(regions), watched, tmp_path, Start(), ALONE))
    before, after = (
        one.state_dict()
        for one in (seeded_network(config, CONTRACT.policy), outcome(config, CONTRACT.policy, tmp_path).model)
    )
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith(("stem", "blocks.0."))} <= kept
    assert "blocks.1.expand.weight" not in kept


def test_the_weights_that_ship_may_be_a_mean_with_those_begun_with() -> None:
    trained, start = (seeded_network(quick().model_copy(update={"seed": seed}), CONTRACT.policy) for seed in (1, 2))
    wanted = trained.stem.weight * 0.75 + start.stem.weight * 0.25
    assert mean_with_start(trained, start, 0.0).stem.weight is trained.stem.weight
    assert torch.allclose(mean_with_start(trained, start, 0.25).stem.weight, wanted, atol=1e-6)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("blended_share: 0.06", "blended_share: 0.6\ncomposited_share: 0.5", "above 1 together"),
    ("blended_share: 0.06", "blended_share: 0.06\nkept_of_start: 0.25", "norm_statistics kept only"),
])  # fmt: skip
def test_settings_that_do_not_fit_each_other_are_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = LITE_CONFIG.read_text("utf-8")
    assert old in text
    (tmp_path / "other.yaml").write_text(text.replace(old, new))
    with pytest.raises(TrainingError, match=said):
        load_face_config(tmp_path / "other.yaml")
    other = quick(skipped_blocks=0.5).model_dump() | {"architecture": {"name": "ladeda9"}}
    with pytest.raises(ValidationError, match="ladeda9 has none to skip"):
        FaceTrainingConfig.model_validate(other)


def test_strong_contrast_takes_the_place_of_a_tone_curve() -> None:
    """Levels are drawn apart about a middle level: more of them end at black and white."""
    picture = np.tile(np.linspace(60, 200, 300).astype(np.uint8)[None, :, None], (300, 1, 3))
    crop = CropBox(30, 30, 270, 270)
    ranges = CONFIG.degradations.model_copy(update={"tone": 0.0, "strong_contrast": 1.0, "as_it_is": 0.0, "tint": 0.0})
    made = [degrade(picture, crop, PIXELS, ranges, np.random.default_rng(k)) for k in range(20)]
    spread = [int(one.max()) - int(one.min()) for one in made]
    assert min(spread) > 1.3 * 0.8 * (200 - 60) / 1.1


def test_every_source_is_left_out_by_exactly_one_fold(tmp_path: Path) -> None:
    sources = [name for fold in CONFIG.folds.values() for name in (*fold.fake_sources, *fold.real_sources)]
    rows = [line.split(",") for line in SPLIT.read_text("utf-8").splitlines()[1:]]
    assert sorted(sources) == sorted({row[6] for row in rows if row[5] == "face"})
    text = LITE_CONFIG.read_text("utf-8").replace("[celebref_dmdnet,", "[celebref_dmdnet, pif,")
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(TrainingError, match="pif is left out twice"):
        load_face_config(tmp_path / "twice.yaml")


def test_scores_are_summarised_by_kind_and_source() -> None:
    rows = [{"kind": "file", "label": str(k % 2), "source": f"s{k % 2}", "logit": str(k % 2)} for k in range(6)]
    found = summarise(rows)
    assert found["file"]["auc"] == 1.0
    assert found["file"]["by_source"]["s0"] == {"n": 3, "auc": 1.0}
    assert found["harmonised"] is None
    json.dumps(found)


def test_forgeries_of_ours_are_made_once_and_stand_beside_their_originals(tmp_path: Path) -> None:
    """A generated face has no original; a re-synthesised one keeps what lies outside the face."""
    picture = np.asarray(Image.open(GOLDEN / "in_scope" / "real_collins.png").convert("RGB"))
    image = Image.fromarray(picture)
    face, found = find_face(image, CONTRACT.policy, load_detector(CONTRACT.policy.face_detector))
    assert face is not None
    assert found == "portrait"
    box = face_crop_box(face, image.size, CONTRACT.policy.face_detector)
    pixels, crop, marks = cut_region(image, box, face.landmarks, 0)
    one = replace(region(tmp_path, "ab12cd34ef56", 0, "photos"), crop=crop, landmarks=tuple(marks))
    np.save(one.file, pixels)
    made = list(fill_forgeries([one], CONTRACT, 1, tmp_path / "forged"))
    before = {path: path.read_bytes() for path in sorted((tmp_path / "forged").iterdir())}
    assert list(fill_forgeries([one], CONTRACT, 1, tmp_path / "forged")) == made
    assert {path: path.read_bytes() for path in sorted((tmp_path / "forged").iterdir())} == before
    forged = load_forgeries([one], 1, tmp_path / "forged")
    assert [(each.family_source, each.label) for each in forged] == [
        ("generated", 1), ("resynthesis", 0), ("resynthesis", 1)
    ]  # fmt: skip
    _, original, fake = (each.pixels() for each in forged)
    changed = (original != fake).any(axis=2)
    assert 0 < changed.mean() < 1
    data = draws([*(each for each in forged if each.generator == "resynthesis"), one])
    pair = data._draw(2, np.random.default_rng(0))
    assert [drawn.region.label for drawn in pair] == [1, 0]
    assert pair[0].seed == pair[1].seed
