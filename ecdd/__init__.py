"""ECDD: an edge deepfake detector and the executable specification that decides whether it may ship.

The public names are those in `__all__`; everything else may change without notice. ``import ecdd`` imports nothing;
the first use of a name imports numpy and Pillow, and `Detector.load` the runtime of the model.

Examples
--------
>>> from ecdd import Detector
>>> detector = Detector.load()
>>> verdict = detector.predict(b"no picture")
>>> verdict.label, verdict.detail
('abstain', 'format unknown; accepted are JPEG, PNG, WEBP')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# where each public name lives; nothing is imported before it is used
_HOMES = {
    "Bundle": "ecdd.bundle",
    "BundleError": "ecdd.bundle",
    "ContractError": "ecdd.contract.contract_error",
    "Detector": "ecdd.detector",
    "EcddError": "ecdd.errors",
    "FaceVerdict": "ecdd.verdict",
    "ReasonCode": "ecdd.pipeline.reason_codes",
    "Verdict": "ecdd.verdict",
    "load_bundle": "ecdd.bundle",
}

__all__ = [
    "Bundle",
    "BundleError",
    "ContractError",
    "Detector",
    "EcddError",
    "FaceVerdict",
    "ReasonCode",
    "Verdict",
    "__version__",
    "load_bundle",
]

if TYPE_CHECKING:
    from ecdd.bundle import Bundle, BundleError, load_bundle
    from ecdd.contract.contract_error import ContractError
    from ecdd.detector import Detector
    from ecdd.errors import EcddError
    from ecdd.pipeline.reason_codes import ReasonCode
    from ecdd.verdict import FaceVerdict, Verdict


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each public name has its own type
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ecdd' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
