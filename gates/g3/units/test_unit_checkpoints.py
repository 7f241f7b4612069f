"""Checkpoints of both architectures: public forms and their errors, float16 storage, numbers of the origin."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ecdd.bundle import bundle_path
from ecdd.models.architectures import build_network
from ecdd.models.checkpoint import (
    CheckpointError,
    CheckpointIdentity,
    check_operator,
    load_public,
    load_weights,
    save_weights,
    state_digest,
)
from ecdd.models.ladeda import REDUCED_WIDTH, LaDeDa9
from ecdd.models.tiny_ladeda import TinyLaDeDa
from gates.support.public_networks import as_double, image_logit, patch_scores, public_student, public_teacher
from gates.support.public_networks import student_features as features_of
from gates.support.seeded_networks import seeded_student, seeded_teacher

IDENTITY = CheckpointIdentity(
    architecture="ladeda9",
    input_operator="NPR",
    operator_scale=2 / 3,
    normalisation_mean=(0.485, 0.456, 0.406),
    normalisation_std=(0.229, 0.224, 0.225),
    pixel_scale=1 / 255,
    input_size=256,
    tensor_digest="0" * 64,
    width=0.125,
)


def renamed(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()}


# our own files


def test_the_shipped_student_is_rewritten_byte_for_byte(tmp_path: Path) -> None:
    shipped = bundle_path("tiny") / "weights.safetensors"
    model, identity = load_weights(shipped)
    assert isinstance(model, TinyLaDeDa)
    assert (identity.width, identity.storage) == (1.0, "float32")
    save_weights(model, identity, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_teacher_round_trip(tmp_path: Path, storage: str) -> None:
    model, path = seeded_teacher(0, width=0.125), tmp_path / "teacher.safetensors"
    identity = dataclasses.replace(IDENTITY, storage=storage)
    digest = save_weights(model, identity, path)
    loaded, read = load_weights(path)
    assert isinstance(loaded, LaDeDa9)
    assert read == identity
    dtype = getattr(torch, storage)
    for name, value in model.state_dict().items():
        kept = value.to(dtype) if value.is_floating_point() else value
        assert loaded.state_dict()[name].dtype == value.dtype
        assert torch.equal(loaded.state_dict()[name], kept.to(value.dtype))
    with safe_open(path, framework="pt") as handle:
        stored = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no iterator
        recorded = json.loads(handle.metadata()["ecdd"])
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {dtype}
    assert digest == state_digest(stored) == recorded["state_digest"]
    # a float16 file saved again is the same file: nothing is rounded twice
    save_weights(loaded, read, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_model_and_identity_must_agree(tmp_path: Path) -> None:
    model = seeded_teacher(0, width=0.125)
    with pytest.raises(CheckpointError, match=r"model's width is 0\.125, the identity says 0\.5"):
        save_weights(model, dataclasses.replace(IDENTITY, width=0.5), tmp_path / "w")
    with pytest.raises(CheckpointError, match="model's architecture is ladeda9, the identity says tiny_ladeda"):
        save_weights(model, dataclasses.replace(IDENTITY, architecture="tiny_ladeda"), tmp_path / "w")
    with pytest.raises(CheckpointError, match="storage 'float8' is not known"):
        save_weights(model, dataclasses.replace(IDENTITY, storage="float8"), tmp_path / "w")
    with torch.no_grad():
        model.fc.weight[0, 0] = 70_000.0
    with pytest.raises(CheckpointError, match=r"fc\.weight holds a value that is not finite as float16"):
        save_weights(model, dataclasses.replace(IDENTITY, storage="float16"), tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("architecture", "resnet50", "architecture 'resnet50' is not known; choose one of ladeda9, lite, tiny_ladeda"),
        ("architecture", ["ladeda9"], "malformed"),
        ("width", 0.5, r"wrong shapes \['bn1\.bias'"),
        ("width", "wide", "malformed"),
        ("width", -1, "width -1 is out of range"),
        ("storage", "float16", "metadata say float16"),
        ("storage", "int4", "malformed"),
        ("colour", "blue", "malformed"),
    ],
)
def test_altered_metadata_is_refused(tmp_path: Path, field: str, value: object, what: str) -> None:
    path = tmp_path / "teacher.safetensors"
    save_weights(seeded_teacher(0, width=0.125), IDENTITY, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    text = json.loads(header["__metadata__"]["ecdd"]) | {field: value}
    header["__metadata__"]["ecdd"] = json.dumps(text)
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    path.write_bytes(len(written).to_bytes(8, "little") + written + data[8 + size :])
    with pytest.raises(CheckpointError, match=what):
        load_weights(path)


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    save_weights(seeded_teacher(0, width=0.125), IDENTITY, tmp_path / "w")
    before = torch.random.get_rng_state()
    load_weights(tmp_path / "w")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_wider_student_has_the_same_grid_and_at_most_twenty_thousand_weights(tmp_path: Path) -> None:
    wide = build_network("tiny_ladeda", "NPR", 2 / 3, 4.0).eval()
    assert sum(parameter.numel() for parameter in wide.parameters()) == 19_777
    assert wide(torch.zeros(1, 3, 256, 256)).shape == (1, 31, 31)
    identity = dataclasses.replace(IDENTITY, architecture="tiny_ladeda", width=4.0)
    save_weights(wide, identity, tmp_path / "w")
    assert torch.equal(load_weights(tmp_path / "w")[0].state_dict()["fc.weight"], wide.state_dict()["fc.weight"])


STUDENT = dataclasses.replace(IDENTITY, architecture="tiny_ladeda", width=1.0)


def test_another_operator_is_refused_on_save_and_against_the_contract(tmp_path: Path) -> None:
    other = dataclasses.replace(STUDENT, operator_scale=1.0)
    with pytest.raises(CheckpointError, match=r"the identity says NPR x 1\.0"):
        save_weights(seeded_student(0), other, tmp_path / "w")
    with pytest.raises(CheckpointError, match="patch_grid"):
        check_operator(other, "NPR", 2 / 3, tmp_path / "w")
    check_operator(STUDENT, "NPR", 2 / 3, tmp_path / "w")


@pytest.mark.parametrize("cut", [0, 7, 100, 2000])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(seeded_student(0), STUDENT, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_weights(path)


def test_a_changed_weight_and_a_missing_identity_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(seeded_student(0), STUDENT, path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="state digest"):
        load_weights(path)
    save_file(seeded_student(0).state_dict(), path)
    with pytest.raises(CheckpointError, match="input operator is unknown"):
        load_weights(path)


def test_a_public_state_dict_loads_with_the_operator_given(tmp_path: Path) -> None:
    torch.save(public_student(1), tmp_path / "public.pth")
    assert load_public(tmp_path / "public.pth", "right_diag", 1.0).input_operator == "right_diag"


# public state dicts


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "module.model."])
@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
@pytest.mark.parametrize("architecture", ["ladeda9", "tiny_ladeda"])  # lite begins with a file of another form
def test_public_forms_load(tmp_path: Path, architecture: str, nested: str | None, prefix: str) -> None:
    state = public_teacher(1) if architecture == "ladeda9" else public_student(1)
    content = renamed(state, prefix)
    torch.save({nested: content, "total_steps": 9} if nested else content, tmp_path / "public.pth")
    loaded = load_public(tmp_path / "public.pth", "NPR", 2 / 3, architecture)
    assert not loaded.training
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_an_imported_student_gives_the_numbers_of_its_origin(tmp_path: Path) -> None:
    state, x = public_student(2), torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(5))
    torch.save(renamed(state, "module."), tmp_path / "public.pth")
    loaded = load_public(tmp_path / "public.pth", "NPR", 2 / 3).double()
    features = features_of(as_double(state), x.double())
    native, wanted = patch_scores(as_double(state), features), image_logit(as_double(state), features)
    with torch.inference_mode():
        assert loaded.native_map(x.double()).shape == native.shape == (3, 126, 126)
        assert float((loaded.native_map(x.double()) - native).abs().max()) <= 1e-9
        assert float((loaded.native_logit(x.double()) - wanted).abs().max()) <= 1e-9
        grid_mean = loaded(x.double()).mean(dim=(1, 2))
        # the patch grid leaves out 45 % of the native cells: its mean is another number
        assert float((grid_mean - wanted).abs().min()) > 1e-4
        single = loaded.float().native_logit(x)
    assert float((single - wanted).abs().max()) <= 1e-4


def test_step_counters_may_be_missing_and_half_precision_is_widened(tmp_path: Path) -> None:
    state = {name: value for name, value in public_student(1).items() if "num_batches" not in name}
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "public.pth")
    loaded = load_public(tmp_path / "public.pth", "NPR", 2 / 3)
    assert loaded.state_dict()["fc.weight"].dtype == torch.float32
    assert torch.equal(loaded.state_dict()["fc.weight"], state["fc.weight"].half().float())


def test_what_does_not_fit_is_named_with_what_was_found_and_wanted(tmp_path: Path) -> None:
    state, path = public_teacher(1), tmp_path / "public.pth"
    state["fc.weight"] = torch.zeros(1000, 2048)
    state["layer1.0.conv2.weight"] = torch.zeros(64, 64, 1, 1)
    del state["layer4.2.bn3.bias"]
    state["attention_fc.weight"] = torch.zeros(1, 2048)
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        load_public(path, "NPR", 2 / 3, "ladeda9")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{path}: no ladeda9 of width 1, head 2048 to 1: missing keys ['layer4.2.bn3.bias'], ")
    assert lines[0].endswith(
        "unknown keys ['attention_fc.weight'], wrong shapes ['fc.weight', 'layer1.0.conv2.weight']"
    )
    assert lines[1:] == [
        "  fc.weight: found (1000, 2048), wanted (1, 2048)",
        "  layer1.0.conv2.weight: found (64, 64, 1, 1), wanted (64, 64, 3, 3)",
    ]


def test_a_checkpoint_of_the_other_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(public_student(1), tmp_path / "student.pth")
    with pytest.raises(CheckpointError, match=r"missing keys \['layer1\.0\.bn3\.bias'"):
        load_public(tmp_path / "student.pth", "NPR", 2 / 3, "ladeda9")
    torch.save(public_teacher(1), tmp_path / "teacher.pth")
    with pytest.raises(CheckpointError, match=r"unknown keys \['layer1\.0\.bn3\.bias'"):
        load_public(tmp_path / "teacher.pth", "NPR", 2 / 3, "tiny_ladeda")
    with pytest.raises(CheckpointError, match=r"found \(1, 2048\), wanted \(1, 384\)"):
        load_public(tmp_path / "teacher.pth", "NPR", 2 / 3, "ladeda9", REDUCED_WIDTH)


class _Planted:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("planted_by_a_checkpoint"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"model": _Planted()}, "not a readable checkpoint"),
        ([torch.zeros(1)], "holds list"),
        ({}, "holds dict"),
        ({"fc.weight": torch.zeros(1, 8), "epoch": 3}, r"entries \['epoch'\] are no tensors"),
        ({"fc.bias": torch.zeros(1), "module.fc.bias": torch.zeros(1)}, r"two entries are named fc\.bias"),
        ({**public_student(1), "fc.bias": torch.tensor([float("nan")])}, r"not finite in \['fc\.bias'\]"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "public.pth")
    with pytest.raises(CheckpointError, match=what) as caught:
        load_public(tmp_path / "public.pth", "NPR", 2 / 3)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "planted_by_a_checkpoint").exists()


@pytest.mark.parametrize("cut", [0, 10, 500, 5000])
def test_a_truncated_public_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "public.pth"
    torch.save(public_student(1), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"public\.pth: not a readable checkpoint"):
        load_public(path, "NPR", 2 / 3)
