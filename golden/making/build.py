"""Build the golden set: ``python -m golden.making.build`` writes pictures and manifest, ``--check`` compares only.

Files that packages ship (generator ``none``) and ``sources/`` must be there; everything else is made anew, byte for
byte the same with the versions in ``constraints.txt``.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import Any

import yaml

from ecdd.files import write_bytes, write_text
from ecdd.golden.golden_sets import DEFAULT_ROOT, MANIFEST, GoldenError, GoldenManifest, load_golden
from golden.making import edge_cases, in_scope, out_of_scope
from golden.making.recipe import Recipe, Workshop

log = logging.getLogger(__name__)
ABOUT = (
    "Fixed before any threshold. Real pictures are photographs whose licence is proven one by one; see README.md for "
    "how each was made. The photographs counted here are those behind the real pictures in scope: several pictures may "
    "show one photograph (crops with different people) and several photographs one person."
)


def all_recipes() -> list[Recipe]:
    """Every recipe, in the order in which pictures are made and listed."""
    return [*in_scope.recipes(), *out_of_scope.recipes(), *edge_cases.recipes()]


def entry(recipe: Recipe, content: bytes) -> dict[str, Any]:
    """Manifest entry of one picture."""
    return {
        "id": recipe.name,
        "path": recipe.path,
        "set": recipe.set,
        "sha256": hashlib.sha256(content).hexdigest(),
        "category": recipe.category,
        "licence": recipe.licence[0],
        "licence_reason": recipe.licence[1],
        "attribution": recipe.attribution,
        "origin": recipe.origin,
        "generator": recipe.generator,
        "seed": recipe.seed,
        "parameters": recipe.parameters,
        "derived_from": list(recipe.derived_from),
        "photograph": recipe.photograph,
        "people": list(recipe.people),
        "hard_negative": recipe.hard_negative,
        "expected": {
            "scope": "none" if recipe.label is None else "face",
            "label": recipe.label,
            "outcome": recipe.outcome,
            "reason_codes": list(recipe.reason_codes),
        },
    }


def build(root: Path, contract: Path) -> tuple[dict[str, bytes], str]:
    """Make every picture and the manifest in memory; pictures are written as they are made, for those made from them.

    Returns
    -------
    tuple
        Content by path of the pictures that were made, and the text of the manifest.
    """
    recipes = all_recipes()
    shop = Workshop(root, contract, {recipe.name: recipe.path for recipe in recipes})
    made: dict[str, bytes] = {}
    entries = []
    for recipe in recipes:
        path = root / recipe.path
        if recipe.make is None:
            content = path.read_bytes()
        else:
            content = made[recipe.path] = recipe.make(shop)
            if not path.is_file() or path.read_bytes() != content:
                write_bytes(path, content)
                log.info("%s: %d bytes", recipe.path, len(content))
        entries.append(entry(recipe, content))
    real = [recipe for recipe in recipes if recipe.set == "in_scope" and recipe.label == "real"]
    document = {
        "manifest_version": 1,
        "about": ABOUT,
        "distinct_people": len({person for recipe in real for person in recipe.people}),
        "distinct_photographs": len({recipe.photograph for recipe in real}),
        "sources": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((root / "sources").iterdir())
        },
        "items": entries,
    }
    GoldenManifest.model_validate(document)
    return made, yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def check(root: Path, contract: Path, scratch: Path) -> list[str]:
    """Rebuild into another folder and compare byte for byte.

    Parameters
    ----------
    root : Path
        The golden folder.
    contract : Path
        The contract to decode and find faces with.
    scratch : Path
        An empty folder.

    Returns
    -------
    list of str
        One line a difference.
    """
    kept = [recipe.path for recipe in all_recipes() if recipe.make is None]
    for name in [*kept, *(f"sources/{path.name}" for path in (root / "sources").iterdir())]:
        write_bytes(scratch / name, (root / name).read_bytes())
    made, manifest = build(scratch, contract)
    problems = [
        f"{path}: a rebuild gives other bytes"
        for path, content in sorted(made.items())
        if not (root / path).is_file() or (root / path).read_bytes() != content
    ]
    if manifest != (root / MANIFEST).read_text(encoding="utf-8"):
        problems.append(f"{MANIFEST}: a rebuild gives another text")
    return problems


def main() -> None:
    """Build, or check with ``--check DIR``; exit code 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    parser.add_argument("--contract", type=Path, default=Path("contracts/policy_contract.yaml"))
    parser.add_argument(
        "--check", type=Path, metavar="DIR", help="rebuild into this empty folder and compare; nothing else is written"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import torch

    torch.set_num_threads(1)
    try:
        if args.check is None:
            _, manifest = build(args.root, args.contract)
            write_text(args.root / MANIFEST, manifest)
        problems = [] if args.check is None else check(args.root, args.contract, args.check)
        load_golden(args.root).verify()
    except GoldenError as error:
        raise SystemExit(str(error)) from error
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
