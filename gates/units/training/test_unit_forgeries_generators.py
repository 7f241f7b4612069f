"""Every generator of the registry: the same bits for a seed, nothing changed outside its mask, no colour on grey."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecdd.training.forgeries.forgery import FacePicture, Forgery, ForgeryRefused
from ecdd.training.forgeries.registry import GENERATORS, UnknownGeneratorError, forge
from gates.support.drawn_people import in_grey, person

pytest.importorskip("torch", reason="the generators need the extra 'train'")
cv2 = pytest.importorskip("cv2", reason="the generators need the extra 'train'")

LOCAL = sorted(name for name, generator in GENERATORS.items() if generator.keeps_picture)
SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def people(policy: Any) -> tuple[FacePicture, FacePicture]:
    return person(5, policy), person(6, policy)


def _forge(name: str, people: tuple[FacePicture, FacePicture], seed: int) -> Forgery:
    return forge(name, people[0], seed, people[1] if GENERATORS[name].needs_partner else None)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_same_bits_for_a_seed(name: str, people: tuple[FacePicture, FacePicture]) -> None:
    for seed in SEEDS[:2]:
        first, second = (_forge(name, people, seed) for _ in range(2))
        assert first.picture.tobytes() == second.picture.tobytes()
        assert first.mask.tobytes() == second.mask.tobytes()
        assert first.parameters == second.parameters
        assert first.generator == name


@pytest.mark.parametrize("name", ["face_swap", "latent_resampling", "upsampling"])
def test_same_bits_for_any_number_of_threads(name: str, people: tuple[FacePicture, FacePicture]) -> None:
    before = cv2.getNumThreads()
    made = []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            made.append([_forge(name, people, seed).picture.tobytes() for seed in SEEDS])
    finally:
        cv2.setNumThreads(before)
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_seeds_differ(name: str, people: tuple[FacePicture, FacePicture]) -> None:
    assert len({_forge(name, people, seed).picture.tobytes() for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("name", LOCAL)
def test_only_the_mask_is_changed(name: str, people: tuple[FacePicture, FacePicture]) -> None:
    source = people[0].picture.copy()
    for seed in SEEDS:
        forgery = _forge(name, people, seed)
        outside, inside = forgery.mask == 0, forgery.mask > 0.9
        assert np.array_equal(people[0].picture, source), "the source was written to"
        assert np.array_equal(forgery.picture[outside], source[outside])
        assert forgery.mask.min() >= 0
        assert forgery.mask.max() <= 1
        if inside.any():
            changed = np.abs(forgery.picture[inside].astype(int) - source[inside]).max(axis=1) > 0
            assert changed.mean() > 0.5


@pytest.mark.parametrize("name", LOCAL)
def test_grey_stays_grey(name: str, people: tuple[FacePicture, FacePicture]) -> None:
    grey = in_grey(people[0]), people[1]
    for seed in SEEDS[:2]:
        made = _forge(name, grey, seed).picture.astype(int)
        assert np.ptp(made, axis=2).max() == 0


def test_unknown_names_are_listed(people: tuple[FacePicture, FacePicture]) -> None:
    with pytest.raises(UnknownGeneratorError, match="'deepfake' is unknown; there are self_blended, face_swap"):
        forge("deepfake", people[0], 1)


def test_a_swap_needs_a_partner(people: tuple[FacePicture, FacePicture]) -> None:
    with pytest.raises(ValueError, match="another person"):
        forge("face_swap", people[0], 1)


def test_detectors_without_landmarks_are_refused(people: tuple[FacePicture, FacePicture]) -> None:
    with pytest.raises(ForgeryRefused, match="too few landmarks: 2"):
        FacePicture(people[0].picture, replace(people[0].face, landmarks=people[0].face.landmarks[:2]))


def test_regions_of_all_kinds_are_drawn(people: tuple[FacePicture, FacePicture]) -> None:
    regions = {str(_forge("upsampling", people, seed).parameters["region"]) for seed in range(24)}
    assert regions == {"picture", "face", "blot"}
