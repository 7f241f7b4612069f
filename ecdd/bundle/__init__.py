"""A bundle: the directory that ships, with its contract, model, calibration and a digest over all of it."""

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord, Thresholds
from ecdd.bundle.loading import Bundle, bundle_path, default_bundle_path, load_bundle
from ecdd.bundle.manifest import BundleManifest, FileEntry, ModelDescription
from ecdd.bundle.payload import payload_digest
from ecdd.bundle.writing import write_manifest

__all__ = [
    "Bundle",
    "BundleError",
    "BundleManifest",
    "CalibrationRecord",
    "FileEntry",
    "ModelDescription",
    "Thresholds",
    "bundle_path",
    "default_bundle_path",
    "load_bundle",
    "payload_digest",
    "write_manifest",
]
