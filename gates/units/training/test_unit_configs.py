"""Every configuration that ships is readable and consistent with the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecdd.bundle import load_bundle
from ecdd.models.architectures import build_network
from ecdd.training.config import load_config
from ecdd.training.forgeries.registry import GENERATORS

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
CONFIGS = [path for path in SHIPPED if "lite" not in path.stem]  # `lite` learns from faces and has a form of its own


def test_the_configurations_are_those_that_are_documented() -> None:
    names = {path.stem for path in SHIPPED}
    lite = {"lite", "lite_second_stage", "lite_third_stage", "lite_fourth_stage"}
    assert names == {"finetune_student", "finetune_teacher", *lite, "smoke", "student", "teacher"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_names_what_there_is(path: Path) -> None:
    config, policy = load_config(path), load_bundle("tiny").contract.policy
    grid = policy.patch_grid
    network = build_network(
        config.architecture.name, grid.input_operator, grid.operator_scale, config.architecture.width
    )
    geometry = network.geometry(config.optimise.crop, config.optimise.crop)
    assert (geometry.stride, geometry.receptive_field) == (grid.stride, grid.receptive_field)
    assert config.optimise.crop <= policy.pixel_pipeline.input_size
    assert config.optimise.draws >= config.optimise.batch
    assert config.forgeries is None or set(config.forgeries.generators) <= set(GENERATORS)
    assert (config.distil is None) or config.architecture.name == "tiny_ladeda"
