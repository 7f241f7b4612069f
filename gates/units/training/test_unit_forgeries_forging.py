"""Only real TRAIN faces are forged, partners come from the same part, and the sheet shows what was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ecdd.dataset_governance.lineage_tags import SPLIT_COLUMNS, LineageError, LineageTag, write_split
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.pipeline.face_detectors import load_detector
from ecdd.training.forgeries.forgery import Forgery
from gates.support.drawn_people import tagged, write_rows

pytest.importorskip("torch", reason="forging needs the extra 'train'")
pytest.importorskip("cv2", reason="forging needs the extra 'train'")

from ecdd.cli import app
from ecdd.training.forgeries.face_reader import CutSettings
from ecdd.training.forgeries.forging import (
    Forged,
    NotForged,
    as_png,
    forge_part,
    prepare_forgery,
    seed_for,
)
from ecdd.training.forgeries.registry import UnknownGeneratorError

SMALL = CutSettings(crop_side=(96, 180))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[TaggedRow]:
    return write_rows(tmp_path_factory.mktemp("people"), [4, 5, 6, 7])


def _forged(rows: list[TaggedRow], generator: str, seed: int, contract: Any) -> dict[str, Forged]:
    found = list(forge_part(rows, generator, seed, contract, SMALL))
    assert all(isinstance(item, Forged) for item in found), [str(item) for item in found]
    return {item.row.sha256: item for item in found if isinstance(item, Forged)}


@pytest.mark.parametrize("tag", [tag for tag in LineageTag if tag != LineageTag.TRAIN])
def test_other_lineages_are_refused_before_anything_is_read(tag: LineageTag, contract: Any, tmp_path: Path) -> None:
    rows = [*write_rows(tmp_path, [4]), tagged(tmp_path / "other.png", b"not a picture", tag)]
    (tmp_path / "4.png").unlink()
    with pytest.raises(LineageError, match=rf"other\.png: tagged {tag}, only TRAIN"):
        next(iter(forge_part(rows, "upsampling", 0, contract)))


def test_a_tag_of_another_picture_does_not_count(rows: list[TaggedRow], contract: Any) -> None:
    crossed = [(rows[0][0], rows[1][1])]
    with pytest.raises(LineageError, match="only TRAIN may be forged"):
        next(iter(forge_part(crossed, "upsampling", 0, contract)))


def test_forged_pictures_are_passed_over(rows: list[TaggedRow], contract: Any) -> None:
    fake = (replace(rows[0][0], label=1), rows[0][1])
    assert set(_forged([fake, *rows[1:]], "upsampling", 0, contract)) == {row.sha256 for row, _ in rows[1:]}


def test_unknown_generator(rows: list[TaggedRow], contract: Any) -> None:
    with pytest.raises(UnknownGeneratorError, match="there are"):
        next(iter(forge_part(rows, "gan", 0, contract)))


def test_two_runs_give_the_same_bits_in_any_order_of_rows(rows: list[TaggedRow], contract: Any) -> None:
    for generator in ("self_blended", "face_swap"):
        first, second = (_forged(order, generator, 3, contract) for order in (rows, rows[::-1]))
        assert list(first) == list(second)
        for key, item in first.items():
            assert item.before.tobytes() == second[key].before.tobytes()
            assert item.forgery.picture.tobytes() == second[key].forgery.picture.tobytes()
            assert item.partner == second[key].partner


def test_a_smaller_part_changes_no_forgery_without_partner(rows: list[TaggedRow], contract: Any) -> None:
    whole, part = _forged(rows, "upsampling", 3, contract), _forged(rows[:2], "upsampling", 3, contract)
    for key, item in part.items():
        assert item.forgery.picture.tobytes() == whole[key].forgery.picture.tobytes()


def test_generators_and_seeds_have_seeds_of_their_own() -> None:
    digest = "ab" * 32
    seeds = {seed_for(digest, name, seed) for name in ("upsampling", "face_swap") for seed in (0, 1, 2)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_one_cut_for_all_generators(rows: list[TaggedRow], contract: Any) -> None:
    """The real counterpart of a fake has its size, place and kernel; its pixels outside the mask are the same."""
    made = [_forged(rows, name, 3, contract) for name in ("self_blended", "upsampling", "face_swap")]
    for key, item in made[0].items():
        for other in made[1:]:
            assert np.array_equal(item.before, other[key].before)
        outside = item.forgery.mask == 0
        assert np.array_equal(item.forgery.picture[outside], item.before[outside])


def test_partners_are_other_people_of_the_same_part(tmp_path: Path, contract: Any) -> None:
    rows = write_rows(tmp_path, [4, 5]) + write_rows(tmp_path, [6, 7], identity="somebody")
    group = rows[0][1].near_duplicate_group
    rows[1] = (rows[1][0], replace(rows[1][1], near_duplicate_group=group))
    part = {row.sha256: tag for row, tag in rows}
    for seed in range(3):
        for item in _forged(rows, "face_swap", seed, contract).values():
            assert item.partner is not None
            one, other = part[item.row.sha256], part[item.partner.sha256]
            assert one.near_duplicate_group != other.near_duplicate_group
            assert one.identity == "unknown" or one.identity != other.identity


def test_what_cannot_be_forged_is_counted_not_lost(tmp_path: Path, contract: Any) -> None:
    empty = as_png(np.full((300, 300, 3), 90, np.uint8))
    rows = [
        *write_rows(tmp_path, [5]),
        tagged(tmp_path / "empty.png", empty, LineageTag.TRAIN),
        tagged(tmp_path / "broken.png", empty[:200], LineageTag.TRAIN),
    ]
    found = list(forge_part(rows, "face_swap", 0, contract))
    assert {item.row.name: item.reason for item in found if isinstance(item, NotForged)}.keys() == {
        "5.png",
        "empty.png",
        "broken.png",
    }
    reasons = {item.row.name: item.reason for item in found if isinstance(item, NotForged)}
    assert reasons["empty.png"] == "no face"
    assert reasons["broken.png"].startswith("not decoded (IO-")


def test_small_faces_are_not_enlarged(rows: list[TaggedRow], contract: Any) -> None:
    found = list(forge_part(rows[:1], "upsampling", 0, contract, CutSettings(crop_side=(600, 700))))
    assert [item.reason for item in found if isinstance(item, NotForged)] == ["face too small"]


def test_prepared_forgeries_carry_their_cells(rows: list[TaggedRow], contract: Any) -> None:
    policy = contract.policy
    detector = load_detector(policy.face_detector)
    item = next(iter(_forged(rows, "self_blended", 3, contract).values()))
    tensor = prepare_forgery(item.forgery, policy, detector)
    assert tensor is not None
    grid = policy.patch_grid
    assert tensor.shares.shape == (grid.rows, grid.cols)
    # the crop is a margin about the face: its middle is forged, its corners are not
    assert tensor.shares[grid.rows // 2, grid.cols // 2] > 0.7
    assert tensor.shares[0, 0] == tensor.shares[0, -1] == 0
    with pytest.raises(ValueError, match="keep the size"):
        prepare_forgery(item.forgery, policy, detector, as_png(item.before[1:]))


def test_a_picture_without_a_face_gives_no_tensor(contract: Any) -> None:
    blank = Forgery(np.full((200, 200, 3), 90, np.uint8), np.zeros((200, 200), np.float32), "none", {})
    assert prepare_forgery(blank, contract.policy, load_detector(contract.policy.face_detector)) is None


def _manifest(folder: Path, rows: list[TaggedRow]) -> tuple[Path, Path]:
    lines = ["path,label,scope,source,sha256"]
    lines += [f"{row.path},{row.label},face,drawn,{row.sha256}" for row, _ in rows]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_split([tag for _, tag in rows], folder / "split.csv")
    assert (folder / "split.csv").read_text(encoding="utf-8").startswith(",".join(SPLIT_COLUMNS))
    return folder / "manifest.csv", folder / "split.csv"


def test_sheet_of_a_manifest(rows: list[TaggedRow], tmp_path: Path) -> None:
    data, split = _manifest(tmp_path, rows)
    sheets = []
    for name in ("a.png", "b.png"):
        options = ["--data", str(data), "--split", str(split), "--generator", "face_swap", "--count", "2"]
        done = CliRunner().invoke(app, ["forgeries", "sheet", *options, "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert "2 forgeries; not forged: none" in done.output
        sheets.append((tmp_path / name).read_bytes())
    assert sheets[0] == sheets[1]
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > 1280
        assert sheet.height > 2 * 256


def test_sheet_of_golden_portraits(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["forgeries", "sheet", "--generator", "self_blended", "--count", "2", "--out", str(tmp_path / "a.png")]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.png").is_file()


def test_golden_people_who_must_not_be_manipulated_are_left_alone(golden: Any, contract: Any) -> None:
    from itertools import islice

    from ecdd.training.forgeries.contact_sheet import golden_forgeries

    detector = load_detector(contract.policy.face_detector)
    made = list(islice(golden_forgeries(golden, "upsampling", 0, contract.policy, detector), 14))
    used = {Path(item.row.name).stem for item in made}
    assert used
    assert not any("obama" in name or "biden" in name for name in used)
    assert not any("must not" in item.licence_reason or "not manipulated" in item.licence_reason
                   for item in golden.items if item.id in used)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--generator", "face_swap"], "no swap is made of the people in the golden set"),
        (["--generator", "gan"], "there are self_blended"),
        (["--generator", "upsampling", "--data", "nowhere.csv"], "no such manifest"),
    ],
)
def test_sheet_says_what_is_wrong(options: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["forgeries", "sheet", *options, "--out", str(tmp_path / "sheet.png")])
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "sheet.png").exists()


def test_sheet_without_a_forgeable_face_says_why(tmp_path: Path) -> None:
    rows = [tagged(tmp_path / "empty.png", as_png(np.full((300, 300, 3), 90, np.uint8)), LineageTag.TRAIN)]
    data, split = _manifest(tmp_path, rows)
    options = ["--data", str(data), "--split", str(split), "--generator", "upsampling"]
    done = CliRunner().invoke(app, ["forgeries", "sheet", *options, "--out", str(tmp_path / "sheet.png")])
    assert done.exit_code == 2
    assert "nothing was forged: no face (1)" in done.output
