"""What a bundle says of itself, in two files.

``bundle.json`` describes the model and is part of the payload like every other file, so nothing in it can change
without changing the payload digest. ``manifest.json`` is only the list of files with their digests, and the payload
digest over that list; it cannot be part of what it cites. Both are written in one exact form, and a
``manifest.json`` in any other form is refused: no byte of a bundle is free.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MANIFEST_FILE = "manifest.json"
DESCRIPTION_FILE = "bundle.json"
CONTRACT_FILE = "policy_contract.yaml"
MODEL_FILE = "model.tflite"
WEIGHTS_FILE = "weights.safetensors"
CALIBRATION_FILE = "calibration.json"
RELEASE_FOLDER = "release"
VARIANTS_FOLDER = "variants"
REQUIRED_FILES = (DESCRIPTION_FILE, CONTRACT_FILE, MODEL_FILE, CALIBRATION_FILE)

# a name starts with a letter, a digit or _: no "..", no absolute path, no hidden file, no drive, no backslash
FILE_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
FileName = Annotated[str, Field(pattern=FILE_NAME_PATTERN, max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Base of every record in a bundle: immutable, strict, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def text(self) -> bytes:
        """Format the record in its one exact form: JSON, two spaces, sorted keys, newline at the end."""
        content = self.model_dump(mode="json")
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()


class FileEntry(Record):
    """One file of the payload."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class FileList(Record):
    """``manifest.json``."""

    schema_version: Literal[1] = 1
    files: dict[FileName, FileEntry]
    payload_digest: Sha256


class ModelDescription(Record):
    """What the weights cannot say of themselves: the fixed operator, the grid, the normalisation they expect."""

    architecture: Annotated[str, Field(min_length=1, description='for example "tiny_ladeda"')]
    parameters: Annotated[int | None, Field(ge=1, description="trained numbers; null where its maker did not say")]
    input_operator: Annotated[str, Field(min_length=1, description='fixed operator, for example "NPR"')]
    operator_scale: Annotated[float, Field(gt=0, description="factor on the operator's output")]
    grid: Annotated[list[int], Field(min_length=2, max_length=2, description="rows and columns of the map")]
    stride: Annotated[int, Field(ge=1, description="px between neighbouring cells")]
    receptive_field: Annotated[int, Field(ge=1)] | Literal["whole_picture"]
    input_size: Annotated[int, Field(ge=1, description="px, side of the square the model reads")]
    normalisation_mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    normalisation_std: Annotated[list[float], Field(min_length=3, max_length=3)]
    mode: Literal["float32", "float16", "dynamic_range", "weight_only_int8", "full_int8", "int16x8"]
    weights_sha256: Annotated[Sha256 | None, Field(description="null where the bundle holds model files alone")]


class BundleDescription(Record):
    """``bundle.json``."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$", max_length=100)]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    model: ModelDescription
    preprocessing_digest: Sha256
    created_by: dict[str, str]


class BundleManifest(BundleDescription):
    """``bundle.json`` and ``manifest.json`` together."""

    files: dict[FileName, FileEntry]
    payload_digest: Sha256
