"""Dumps of the golden set on an emulated ARM64: ``python -m gates.edge.run --root build/edge/arm64 --dumps …``.

The real NEON kernels of LiteRT and XNNPACK compute: what comes out is functional evidence, and times say nothing. One
process a configuration. The pinned one judges the whole golden set, the others the pictures of `FEW` unless ``--all``.
A dump that is there of the same bundle, code and pictures is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.bundle.variants import modes, ship
from ecdd.golden.golden_sets import load_checked
from ecdd.specification import PACKAGE, ROOT

# a real and a fake, one turned by its tag, one with transparency, a group, no face
FEW: Final = ("real_oath_a", "fake_generated_00", "exif_orientation_6", "alpha_webp", "group_2", "animal_raccoon")
PYTHON: Final = "usr/bin/python3.13"


@dataclass(frozen=True)
class Configuration:
    """One processor, mode and choice of kernels."""

    cpu: str
    mode: str
    xnnpack: bool
    whole: bool = False

    @property
    def name(self) -> str:
        """Name of its platform in evidence."""
        return f"arm64-{self.cpu}-{self.mode}-{'xnnpack' if self.xnnpack else 'no-xnnpack'}"


# cortex-a76 has dot products of bytes, cortex-a72 has not: XNNPACK takes other integer kernels
CONFIGURATIONS: Final = (
    Configuration("cortex-a76", "float32", xnnpack=False),
    Configuration("cortex-a76", "full_int8", xnnpack=True),
    Configuration("cortex-a76", "full_int8", xnnpack=False),
    Configuration("cortex-a72", "float32", xnnpack=True),
    Configuration("cortex-a72", "full_int8", xnnpack=True),
    Configuration("cortex-a76", "float32", xnnpack=True, whole=True),
)


def code_digest() -> str:
    """SHA-256 over the package's Python files: a dump of other code is made again."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def shipped(bundle: Bundle, mode: str, folder: Path) -> Bundle | None:
    """The bundle that ships a mode; None where this one does not carry it."""
    if mode == bundle.manifest.model.mode:
        return bundle
    if mode not in modes(bundle):
        return None
    place = folder / f"{bundle.payload_digest[:16]}-{mode}"
    if not place.is_dir():
        shutil.rmtree(folder / "partial", ignore_errors=True)
        ship(bundle, mode, folder / "partial").path.rename(place)
    return load_bundle(place)


def is_there(path: Path, bundle: Bundle, code: str, pictures: set[str]) -> bool:
    """Whether a dump of this bundle, code and pictures is there."""
    try:
        with zipfile.ZipFile(path) as packed:
            head = json.loads(packed.read("dump.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False
    same = head["bundle_digest"] == bundle.payload_digest and head["platform"]["about"].get("code") == code
    return bool(same and set(head["pictures"]) == pictures)


def make(one: Configuration, bundle: Bundle, pictures: list[str], place: Path, root: Path, code: str) -> int:
    """Run ``ecdd device dump`` under emulation; gives its exit code."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENBLAS", "PYTHON"))}
    environment |= {"QEMU_CPU": one.cpu, "PYTHONPATH": f"{root / 'packages'}:{ROOT}"}
    environment["PYTHONPYCACHEPREFIX"] = str(root / "pycache")  # compiling takes longer than judging there
    emulator = [str(root / "qemu/usr/bin/qemu-aarch64"), "-L", str(root / "system"), str(root / "system" / PYTHON)]
    command = [*emulator, "-m", "ecdd", "device", "dump", "--bundle", str(bundle.path), "--out", str(place)]
    command += ["--platform", one.name, "--kind", "emulated", "--xnnpack" if one.xnnpack else "--no-xnnpack"]
    command += [word for name in pictures for word in ("--picture", name)]
    command += ["--about", f"code={code}", "--about", f"processor={one.cpu}, emulated: functional, no times"]
    return subprocess.run(command, env=environment, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Make every dump that is not there; exit code 1 where one could not be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="what arm64_root.sh made")
    parser.add_argument("--dumps", type=Path, required=True, help="folder for the dumps")
    parser.add_argument("--bundle", type=Path, help="bundle; the default one where not given")
    parser.add_argument("--all", action="store_true", help="the whole golden set in every configuration: hours")
    given = parser.parse_args(arguments)
    bundle, code, failed = load_bundle(given.bundle), code_digest(), []
    everything = [item.id for item in load_checked().items]
    given.dumps.mkdir(parents=True, exist_ok=True)
    for one in CONFIGURATIONS:
        mine = shipped(bundle, one.mode, given.dumps.parent / "bundles")
        if mine is None:
            sys.stdout.write(f"{one.name}: this bundle carries no {one.mode}\n")
            continue
        pictures = everything if one.whole or given.all else [name for name in FEW if name in everything]
        place = given.dumps / f"{one.name}-{bundle.payload_digest[:8]}.npz"
        if is_there(place, mine, code, set(pictures)):
            sys.stdout.write(f"{one.name}: there\n")
        elif make(one, mine, pictures, place, given.root.resolve(), code):
            failed.append(one.name)
    sys.stdout.write(f"not made: {', '.join(failed)}\n" if failed else "every dump is there\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
