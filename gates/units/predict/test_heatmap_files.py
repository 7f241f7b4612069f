"""Heatmap files: names that every tool can read, no half picture, and failures that stop the command with one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from ecdd.cli import app
from gates.support.drawn_pictures import FAKE, contract, portrait

ONE, TWO = portrait(1), portrait(2, faces=2)
NAMES = (
    "plain.jpg",
    "日本 \N{GRINNING FACE}\nsecond line.jpg",
    os.fsdecode(b"caf\xe9\xff.jpg"),
    "\N{GRINNING FACE}" * 60 + ".jpg",
    "no extension",
)


@pytest.fixture(scope="module")
def override(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contract") / "contract.yaml"
    contract(FAKE).dump(path)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_heatmap_is_found_under_its_printed_name(tmp_path: Path, override: Path, jobs: int) -> None:
    place, maps = tmp_path / "pictures", tmp_path / "maps"
    place.mkdir()
    for name in NAMES:
        (place / name).write_bytes(ONE)
    done = run(
        "predict", place, "--json", "--heatmap", maps, "--bundle", "tiny", "--contract", override, "--jobs", str(jobs)
    )
    assert done.exit_code == 0, done.stderr
    drawn = [json.loads(line)["heatmap"] for line in done.stdout.splitlines()]
    assert len(set(drawn)) == len(NAMES)
    for path in drawn:
        path.encode("utf-8")  # no lone surrogates
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
    assert sorted(path.name for path in maps.iterdir()) == sorted(Path(path).name for path in drawn)


def test_two_pictures_of_one_name_keep_two_heatmaps(tmp_path: Path, override: Path) -> None:
    for folder, content in (("a", ONE), ("b", TWO)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "face.jpg").write_bytes(content)
    done = run(
        "predict",
        tmp_path / "a",
        tmp_path / "b",
        "--json",
        "--heatmap",
        tmp_path / "m",
        "--bundle",
        "tiny",
        "--contract",
        override,
    )
    drawn = {json.loads(line)["heatmap"] for line in done.stdout.splitlines()}
    assert len(drawn) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, override: Path, jobs: int) -> None:
    for index in range(4):
        (tmp_path / f"{index}.jpg").write_bytes(ONE)
    taken = tmp_path / "taken.txt"
    taken.write_text("a file, no folder")
    done = run("predict", tmp_path, "--heatmap", taken, "--bundle", "tiny", "--contract", override, "--jobs", str(jobs))
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert "taken.txt" in done.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_detector_that_cannot_be_loaded_is_one_message(tmp_path: Path, jobs: int) -> None:
    """The contract reads well, and only the detector finds that it cannot decide by it."""
    undecidable = tmp_path / "contract.yaml"
    contract({"quality_gates.low_quality_policy": "stricter_threshold"}).dump(undecidable)  # type: ignore[dict-item]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(4):
        (pictures / f"{index}.jpg").write_bytes(ONE)
    done = run("predict", pictures, "--bundle", "tiny", "--contract", undecidable, "--jobs", str(jobs))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("low_quality_policy") == 1
