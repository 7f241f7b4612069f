"""What a phone team needs to prove its own implementation: model, contract, golden pictures and frozen stages."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE
from ecdd.errors import EcddError
from ecdd.files import write_output
from ecdd.parity.device_dump import write_flat
from ecdd.parity.device_reference import Reference

KIT_VERSION: Final = 1
_READ_ME: Final = """ECDD device kit, version {version}, of bundle {name} {release}, payload {digest}

1  Judge every picture of pictures/ with your implementation: contract.json holds every value, pictures.json the ids.
2  Write a dump: dump.json and dump.bin in a folder, or one .npz file. The format is docs/device_kit.md of the project;
   reference/ is a dump of the frozen stages, to compare with and to see what one looks like.
3  bundle_digest of the dump is {digest}
4  ecdd device judge DUMP --bundle BUNDLE names the first stage that moves, by how much, and the likely cause.
"""


def check_new_folder(out: Path) -> None:
    """Make a folder, or take an empty one; before work that takes long.

    Raises
    ------
    EcddError
        It holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EcddError(f"--out {out}: exists and is not an empty folder; name a new one")
    out.mkdir(parents=True, exist_ok=True)


def pack_kit(reference: Reference, out: Path) -> dict[str, str]:
    """Write a kit.

    Parameters
    ----------
    reference : Reference
        Bundle, golden set and their stages.
    out : Path
        New folder.

    Returns
    -------
    dict of str to str
        SHA-256 by file, as ``kit.json`` lists them.

    Raises
    ------
    EcddError
        The folder holds something already.
    """
    check_new_folder(out)
    bundle = reference.bundle
    for name in (MODEL_FILE, CALIBRATION_FILE, CONTRACT_FILE):
        write_output(out / name, bundle.read(name))
    write_output(out / "contract.json", (json.dumps(bundle.contract.values, indent=1) + "\n").encode())
    pictures = {}
    for item in reference.golden.items:
        if item.id in reference.dump.head.pictures:
            place = f"pictures/{item.set}/{Path(item.path).name}"
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.path, out / place)
            pictures[item.id] = {"file": place, "sha256": item.sha256, "licence": item.licence, "origin": item.origin}
    write_output(out / "pictures.json", (json.dumps(pictures, indent=1) + "\n").encode())
    write_flat(out / "reference", reference.dump)
    about = _READ_ME.format(
        version=KIT_VERSION, name=bundle.manifest.name, release=bundle.manifest.version, digest=bundle.payload_digest
    )
    write_output(out / "README.txt", about.encode())
    files = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    content = {"kit_version": KIT_VERSION, "bundle_digest": bundle.payload_digest, "files": files}
    write_output(out / "kit.json", (json.dumps(content, indent=1) + "\n").encode())
    return files
