"""Dumps of the golden set on an emulated ARM64: ``python -m gates.edge.run --root build/edge/arm64 --dumps …``.

The real NEON kernels of LiteRT and XNNPACK compute: what comes out is functional evidence, and times say nothing. One
process a configuration. The pinned one judges the whole golden set, the others what `spread` draws unless ``--all``,
since all pictures in all six take half an hour of a quiet core. A dump of the same bundle, code and pictures is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.bundle.variants import modes, ship
from ecdd.golden.golden_sets import GoldenSet, load_checked
from ecdd.parity.device_dump import DumpedPicture
from ecdd.parity.device_reference import load_reference
from ecdd.specification import ROOT
from gates.support.package_code import code_digest

SEED: Final = 7
SPECIAL: Final = ("exif orientation", "alpha", "group")  # categories that a decoder or a decision treats otherwise
EACH: Final = 2  # pictures of each verdict that rests on the model; one of each that a gate gives
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
    Configuration("cortex-a76", "float32", xnnpack=True, whole=True),
    Configuration("cortex-a76", "float32", xnnpack=False),
    Configuration("cortex-a76", "full_int8", xnnpack=True),
    Configuration("cortex-a76", "full_int8", xnnpack=False),
    Configuration("cortex-a72", "float32", xnnpack=True),
    Configuration("cortex-a72", "full_int8", xnnpack=True),
)


def spread(golden: GoldenSet, frozen: Mapping[str, DumpedPicture]) -> list[str]:
    """Ids of pictures of every kind of verdict and every special category, drawn by seed."""
    groups = [([item.id for item in golden.items if item.category == name], 1) for name in SPECIAL]
    kinds: dict[tuple[str, ...], list[str]] = {}
    for item in golden.items:
        decision = frozen[item.id].s8
        kinds.setdefault((decision.label, *decision.reason_codes), []).append(item.id)
    groups += [(kinds[kind], EACH if set(kind[1:]) <= {"MD-001"} else 1) for kind in sorted(kinds)]
    chance, drawn = random.Random(SEED), set[str]()  # noqa: S311 - a sample, no secret
    for names, count in groups:
        left = [name for name in names if name not in drawn]
        drawn |= set(chance.sample(left, min(len(left), max(0, count - len(drawn & set(names))))))
    return [item.id for item in golden.items if item.id in drawn]


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
    parser.add_argument("--all", action="store_true", help="the whole golden set in every configuration")
    given = parser.parse_args(arguments)
    bundle, code, failed = load_bundle(given.bundle), code_digest(), []
    golden = load_checked()
    everything = [item.id for item in golden.items]
    drawn = spread(golden, load_reference(bundle, golden).dump.head.pictures)
    given.dumps.mkdir(parents=True, exist_ok=True)
    for one in CONFIGURATIONS:
        mine = shipped(bundle, one.mode, given.dumps.parent / "bundles")
        if mine is None:
            sys.stdout.write(f"{one.name}: this bundle carries no {one.mode}\n")
            continue
        pictures, started = everything if one.whole or given.all else drawn, time.monotonic()
        place = given.dumps / f"{one.name}-{bundle.payload_digest[:8]}.npz"
        if is_there(place, mine, code, set(pictures)):
            sys.stdout.write(f"{one.name}: there\n")
        elif make(one, mine, pictures, place, given.root.resolve(), code):
            failed.append(one.name)
        else:
            spent = time.monotonic() - started
            sys.stdout.write(f"{one.name}: {len(pictures)} of {len(everything)} pictures in {spent:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"not made: {', '.join(failed)}\n" if failed else "every dump is there\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
