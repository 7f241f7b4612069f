"""Building the page: the bundle's networks, its contract as JSON, our scripts, and the runtime from npm by digest."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.bundle.manifest import MODEL_FILE
from ecdd.errors import EcddError
from ecdd.files import read_json, write_output
from ecdd.inference.pooling import top_k_count, trimmed_count
from ecdd.pipeline import blazeface, face_mesh
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.runtimes.tflite import TFLiteRuntime

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.contract.schema import PolicyContract

STATIC: Final = Path(__file__).parent / "static"
VENDORED: Final = Path(__file__).parent / "vendored.json"
CONFIG: Final = "config.json"
LIST: Final = "site.json"
SITE_VERSION: Final = 1
_SPECIFIER: Final = '"@litertjs/wasm-utils"'
_SECTIONS: Final = ("pixel_pipeline", "face_detector", "quality_gates", "patch_grid", "operating_point")
# what the page's scripts can do of each knob; a contract that asks for anything else is refused by name
_CAN: Final[Mapping[str, tuple[object, ...]]] = {
    "pixel_pipeline.resize_kernel": ("bilinear", "bicubic", "box"),
    "pixel_pipeline.icc_policy": ("assume_srgb",),
    "pixel_pipeline.channel_order": ("RGB",),
    "face_detector.name": ("blazeface_full_range",),
    "face_detector.crop_alignment": ("axis_aligned",),
    "quality_gates.low_quality_policy": ("abstain",),
    "pooling.rule": ("mean", "top_k", "trimmed_mean", "attention"),
    "model_interface.input_channels": ("RGB",),
    "model_interface.output_kind": ("patch_logits",),
}


class SiteError(EcddError):
    """A page that cannot be built or served; the message says what stands against it."""


def why_not(bundle: Bundle) -> list[str]:
    """What a bundle's contract and model ask for that the page cannot do, by key; empty where it can be built.

    Parameters
    ----------
    bundle : Bundle
        Checked.

    Returns
    -------
    list of str
        One line each, with the key, its value and what is possible.
    """
    values = bundle.contract.values
    wrong = [
        f"{key} is {values[key]!r}; the page can do {', '.join(map(str, able))}"
        for key, able in _CAN.items()
        if key in values and values[key] not in able
    ]
    policy = bundle.contract.policy
    cells = policy.patch_grid.rows * policy.patch_grid.cols
    if cells == 1:
        wrong.append("patch_grid is 1x1; the page tells the map from other outputs by its number of cells")
    about = TFLiteRuntime(bundle.read(MODEL_FILE)).describe() if not wrong else {}
    inputs = str(about.get("inputs", "float32"))
    if "float32" not in inputs:
        wrong.append(f"{MODEL_FILE} reads {inputs}; the page gives float32")
    return wrong


def build_site(bundle: Bundle, out: Path, cache: Path) -> dict[str, str]:
    """Write the page's folder.

    Parameters
    ----------
    bundle : Bundle
        Which detector.
    out : Path
        New folder, or one that holds an older build.
    cache : Path
        Where the npm packages' files are kept between builds.

    Returns
    -------
    dict of str to str
        SHA-256 by file, as ``site.json`` lists them.

    Raises
    ------
    SiteError
        The contract asks for what the page cannot do, npm cannot be asked, or a file of a package is another one.
    """
    if wrong := why_not(bundle):
        raise SiteError("\n".join(["the page cannot do what this bundle's contract asks for:", *wrong]))
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / LIST).is_file())):
        raise SiteError(f"--out {out}: holds something that is no page of ecdd web build; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)  # said before npm is asked
    vendor = vendored_files(cache)
    networks = {
        "finder": ("finder.tflite", blazeface.WEIGHTS.read_bytes()),
        "model": (MODEL_FILE, with_batch_of_one(bundle.read(MODEL_FILE))),
    }
    if getattr(bundle.contract.policy.face_detector, "second_look", "off") != "off":
        networks["mesh"] = ("mesh.tflite", face_mesh.WEIGHTS.read_bytes())
    contents = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file()}
    contents |= {f"vendor/{name}": content for name, content in vendor.items()}
    contents |= dict(networks.values())
    contents[CONFIG] = (json.dumps(_config(bundle, networks), indent=1) + "\n").encode()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    for name, content in contents.items():
        write_output(out / name, content)
    about = {"site_version": SITE_VERSION, "bundle_digest": bundle.payload_digest, "files": digests}
    write_output(out / LIST, (json.dumps(about, indent=1) + "\n").encode())
    return digests


def with_batch_of_one(content: bytes) -> bytes:
    """A model file whose open batch is fixed to 1: the browser's runtime takes no tensor of an open shape.

    Parameters
    ----------
    content : bytes
        TFLite file.

    Returns
    -------
    bytes
        The same file but for the entries of ``shape_signature`` that are -1; weights and operators are untouched.
    """
    from ai_edge_litert import schema_py_generated as schema

    edited = bytearray(content)
    model = schema.Model.GetRootAs(edited, 0)
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for place in range(graph.TensorsLength()):
            signature = graph.Tensors(place).ShapeSignatureAsNumpy()
            if isinstance(signature, np.ndarray):
                signature[signature == -1] = 1  # a view of the bytes
    return bytes(edited)


def read_site(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Read a built page and check every file of it.

    Returns
    -------
    str, dict of str to bytes
        Payload digest of its bundle, and its files.

    Raises
    ------
    SiteError
        No build, or a file is missing or another one.
    """
    if not (folder / LIST).is_file():
        raise SiteError(f"{folder}: no {LIST}; build the page with ecdd web build --out {folder}")
    listed = read_json(folder / LIST)
    found = {}
    for name, digest in listed["files"].items():
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise SiteError(f"{path}: missing, or not what {LIST} lists; build the page again")
        found[str(name)] = content
    return str(listed["bundle_digest"]), found


def _config(bundle: Bundle, networks: Mapping[str, tuple[str, bytes]]) -> dict[str, Any]:
    policy, calibration = bundle.contract.policy, bundle.calibration
    return {
        "bundle_digest": bundle.payload_digest,
        "contract_digest": bundle.contract.digest,
        "contract": {name: getattr(policy, name).model_dump(mode="json") for name in _SECTIONS},
        "pooling": _pooling(policy),
        "calibration": {
            "temperature": calibration.temperature,
            "bias": calibration.bias,
            "knots": [list(knot) for knot in calibration.knots],
        },
        "networks": {
            name: {"file": file, "sha256": hashlib.sha256(content).hexdigest()}
            for name, (file, content) in networks.items()
        },
        "reasons": {code.value: [code.sentence, code.advice] for code in ReasonCode},
    }


def _pooling(policy: PolicyContract) -> dict[str, Any]:
    """Rule and numbers of cells: a ratio as it is written is no matter for another language."""
    part, cells = policy.pooling, policy.patch_grid.rows * policy.patch_grid.cols
    return part.model_dump(mode="json") | {
        "top_k_count": top_k_count(part.top_k_ratio, cells),
        "trimmed_count": trimmed_count(part.trim_fraction, cells),
    }


def vendored_files(cache: Path) -> dict[str, bytes]:
    """Files of the runtime, from the cache or from npm, checked by SHA-256.

    Parameters
    ----------
    cache : Path
        Folder; made where it is missing.

    Returns
    -------
    dict of str to bytes
        By the name that they have in the page's ``vendor`` folder. Of the runtime's own script one import is rewritten
        to the file beside it; nothing else is changed.

    Raises
    ------
    SiteError
        npm is not there, gives nothing, or gives other bytes.
    """
    found = {}
    for package, about in read_json(VENDORED)["packages"].items():
        for name, file in about["files"].items():
            kept = cache / f"{package.replace('/', '+')}-{about['version']}" / name
            if not kept.is_file():
                _take(package, about["version"], kept.parents[len(Path(name).parts) - 1], list(about["files"]))
            content = kept.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest != file["sha256"]:
                raise SiteError(f"{kept}: sha256 is {digest}, {file['sha256']} is expected; remove it and build again")
            found[str(file["to"])] = content
    script = found["litert.js"].decode()
    if script.count(_SPECIFIER) != 1:
        raise SiteError(f"litert.js: {_SPECIFIER} is imported {script.count(_SPECIFIER)} times, expected once")
    found["litert.js"] = script.replace(_SPECIFIER, '"./wasm_utils.js"').encode()
    return found


def is_cached(cache: Path) -> bool:
    """Whether the runtime's files lie in the cache, so that building needs no npm."""
    return all(
        (cache / f"{package.replace('/', '+')}-{about['version']}" / name).is_file()
        for package, about in read_json(VENDORED)["packages"].items()
        for name in about["files"]
    )


def _take(package: str, version: str, into: Path, names: list[str]) -> None:
    """Take a package with npm, which knows where packages are had on this machine, and keep the named files."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SiteError(f"npm, which brings {package} {version}, cannot run: {error}") from None
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            raise SiteError(f"npm pack {package}@{version}: {done.stderr.strip()[-300:] or 'gave no file'}")
        with tarfile.open(packed[0]) as archive:
            for name in names:
                member = archive.extractfile(f"package/{name}")
                if member is None:
                    raise SiteError(f"{package} {version} has no {name}")
                write_output(into / name, member.read())
