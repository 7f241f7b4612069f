"""Teacher and student: with seeded weights, for what holds whatever they have learnt, and as they were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecdd.bundle.manifest import WEIGHTS_FILE
from gates.support.fixtures import Bundle, NotTested, PolicyContract

ARCHITECTURES = (("ladeda9", 0.1875), ("tiny_ladeda", 1.0))
TRAINED_TEACHER = Path(__file__).resolve().parents[2] / "ecdd" / "models" / "teacher" / "weights.safetensors"
NO_TORCH = "torch is not installed (the extra `train`; make test installs it)"


def require_torch(what: str) -> Any:
    """The module torch; without it ``what`` is not tested."""
    try:
        import torch
    except ImportError:
        raise NotTested(what, NO_TORCH) from None
    return torch


def require_weights(bundle: Bundle, what: str) -> Path:
    """The bundle's weights; where it holds model files alone ``what`` is not tested."""
    if WEIGHTS_FILE not in bundle.manifest.files:
        raise NotTested(what, f"the bundle has no {WEIGHTS_FILE}; its model was made elsewhere")
    return Path(bundle.file(WEIGHTS_FILE))


def seeded_network(torch: Any, name: str, width: float, policy: PolicyContract, seed: int) -> Any:
    """A network of an architecture in evaluation mode."""
    grid = policy.patch_grid
    return _seeded(torch, name, seed, grid.input_operator, grid.operator_scale, width)


def seeded_student(seed: int, input_operator: str = "NPR", operator_scale: float = 2 / 3) -> Any:
    """An untrained student in evaluation mode."""
    import torch

    return _seeded(torch, "tiny_ladeda", seed, input_operator, operator_scale, 1.0)


def seeded_teacher(seed: int, input_operator: str = "NPR", operator_scale: float = 2 / 3, width: float = 0.1875) -> Any:
    """An untrained teacher in evaluation mode."""
    import torch

    return _seeded(torch, "ladeda9", seed, input_operator, operator_scale, width)


def _seeded(torch: Any, name: str, seed: int, input_operator: str, operator_scale: float, width: float) -> Any:
    """Weights of a seed; the global random state is left as it was."""
    from ecdd.models.architectures import build_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(name, input_operator, operator_scale, width).eval()


def trained_networks(bundle: Bundle) -> dict[str, Any]:
    """The teacher that ships and the bundle's own network where it holds one, in evaluation mode."""
    from ecdd.models.checkpoint import load_weights

    files = {"trained teacher": TRAINED_TEACHER}
    if WEIGHTS_FILE in bundle.manifest.files:
        files["trained student"] = bundle.file(WEIGHTS_FILE)
    return {name: load_weights(path)[0] for name, path in files.items()}
