"""``ecdd init``: a team's project in one command."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError
from ecdd.specification import CONTRACT, EXPECTED, GOLDEN

_TEMPLATES: Final = Path(__file__).resolve().parent / "project"
# where each template goes; names with a dot in front would be overlooked in a package
_FILES: Final = {
    "README.md": "README.md",
    "pytest.ini": "pytest.ini",
    "gitignore": ".gitignore",
    "gates.yaml": ".github/workflows/gates.yaml",
    "clauses/declared.yaml": "clauses/declared.yaml",
    "clauses/test_e100_1_our_pictures.py": "clauses/test_e100_1_our_pictures.py",
}
# two golden pictures of known licence stand for the team's own
_PICTURES: Final = {"in_scope/real_oath_a.jpg": 0, "in_scope/fake_generated_00.jpg": 1}  # 0 real, 1 fake


def init(
    folder: Annotated[Path, typer.Argument(help="New folder, or an empty one.")], *, as_json: AsJson = False
) -> None:
    """Make a project: contract, example manifest, a clause of its own, and a workflow that runs the gates on each push.

    Nothing is overwritten: exit code 2 where the folder holds anything.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise EcddError(f"{folder}: not a folder; name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise EcddError(f"{folder}: not empty; name a new folder, nothing is overwritten")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ecdd-init-", dir=parent) as made:
        _write(Path(made) / "project")
        (Path(made) / "project").replace(folder.absolute())
    echo(f"{folder}: a project; its README.md says how to run the gates")
    if as_json:
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        write_json({"folder": str(folder), "files": files})


def _write(folder: Path) -> None:
    copies = {_TEMPLATES / name: target for name, target in _FILES.items()}
    copies |= {CONTRACT: CONTRACT.name, EXPECTED: EXPECTED.name}
    copies |= {GOLDEN / name: f"pictures/{Path(name).name}" for name in _PICTURES}
    for source, target in copies.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / target)
    rows = [f"pictures/{Path(name).name},{label},face,golden" for name, label in _PICTURES.items()]
    (folder / "manifest.csv").write_text("\n".join(["path,label,scope,source", *rows, ""]), encoding="utf-8")
