"""The public LaDeDa9 and Tiny-LaDeDa written a second time, from names and shapes alone, with torch's functional calls.

Nothing here comes from `ecdd.models`: state dicts with the public names, and the forward pass as the public code runs
it, so that an imported checkpoint can be compared with its origin.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]

TEACHER_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
# the only convolutions that are not 1x1 at stride 1: (kernel, stride); none is padded
TEACHER_SPATIAL = {
    "conv2": (3, 1),
    "layer1.0.conv2": (3, 2),
    "layer2.0.conv2": (3, 2),
    "layer3.0.conv2": (1, 2),
}


def _normalised(state: State, name: str, channels: int, generator: torch.Generator) -> None:
    state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
    state[f"{name}.bias"] = torch.randn(channels, generator=generator) * 0.1
    state[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.1
    state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _kernel(state: State, name: str, shape: tuple[int, int, int, int], generator: torch.Generator) -> None:
    fan_in = shape[1] * shape[2] * shape[3]
    state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5


def public_teacher(seed: int) -> State:
    """Seeded weights under the names of the public LaDeDa9."""
    generator, state = torch.Generator().manual_seed(seed), State()
    _kernel(state, "conv1", (64, 3, 1, 1), generator)
    _kernel(state, "conv2", (64, 64, 3, 3), generator)
    _normalised(state, "bn1", 64, generator)
    inputs = 64
    for stage, (planes, blocks) in enumerate(TEACHER_STAGES, start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            side = TEACHER_SPATIAL.get(f"{at}.conv2", (1, 1))[0]
            _kernel(state, f"{at}.conv1", (planes, inputs, 1, 1), generator)
            _normalised(state, f"{at}.bn1", planes, generator)
            _kernel(state, f"{at}.conv2", (planes, planes, side, side), generator)
            _normalised(state, f"{at}.bn2", planes, generator)
            _kernel(state, f"{at}.conv3", (4 * planes, planes, 1, 1), generator)
            _normalised(state, f"{at}.bn3", 4 * planes, generator)
            state[f"{at}.bn3.weight"] *= 0.3  # keeps the sum of sixteen blocks in range
            if block == 0:
                _kernel(state, f"{at}.downsample.0", (4 * planes, inputs, 1, 1), generator)
                _normalised(state, f"{at}.downsample.1", 4 * planes, generator)
            inputs = 4 * planes
    state["fc.weight"] = torch.randn(1, 2048, generator=generator) * 0.02
    state["fc.bias"] = torch.randn(1, generator=generator) * 0.1
    return state


def public_student(seed: int) -> State:
    """Seeded weights under the names of the public Tiny-LaDeDa."""
    generator, state = torch.Generator().manual_seed(seed), State()
    _kernel(state, "conv1", (8, 3, 1, 1), generator)
    _kernel(state, "conv2", (8, 8, 3, 3), generator)
    _normalised(state, "bn1", 8, generator)
    _kernel(state, "layer1.0.conv1", (8, 8, 1, 1), generator)
    _normalised(state, "layer1.0.bn1", 8, generator)
    _kernel(state, "layer1.0.conv2", (8, 8, 3, 3), generator)
    _normalised(state, "layer1.0.bn2", 8, generator)
    state["fc.weight"] = torch.randn(1, 8, generator=generator) * 0.5
    state["fc.bias"] = torch.randn(1, generator=generator) * 0.1
    return state


def public_operator(x: Tensor, name: str) -> Tensor:
    """The operator as public code writes it, with its factor."""
    if name == "raw":
        return x
    if name == "NPR":
        half = functional.interpolate(x, scale_factor=0.5, mode="nearest", recompute_scale_factor=True)
        return (x - functional.interpolate(half, scale_factor=2, mode="nearest", recompute_scale_factor=True)) * 2 / 3
    rows = {
        "x_grad": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
        "y_grad": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
        "left_diag": [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
        "right_diag": [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]],
    }[name]
    kernel = torch.tensor(rows, dtype=x.dtype)[None, None].repeat(3, 1, 1, 1)
    return functional.conv2d(x, kernel, groups=3, padding="same")


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(x, *values)


def _convolve(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    return functional.conv2d(x, state[f"{name}.weight"], stride=stride)


def _stem(state: State, x: Tensor, operator: str) -> Tensor:
    x = _convolve(state, "conv2", _convolve(state, "conv1", public_operator(x, operator)))
    return functional.relu(_norm(state, "bn1", x))


def teacher_features(state: State, x: Tensor, operator: str = "NPR") -> Tensor:
    """Features before pooling, shape (N, 2048, 31, 31) for 256x256."""
    x = _stem(state, x, operator)
    for stage, (_, blocks) in enumerate(TEACHER_STAGES, start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            stride = TEACHER_SPATIAL.get(f"{at}.conv2", (1, 1))[1]
            out = functional.relu(_norm(state, f"{at}.bn1", _convolve(state, f"{at}.conv1", x)))
            out = functional.relu(_norm(state, f"{at}.bn2", _convolve(state, f"{at}.conv2", out, stride)))
            out = _norm(state, f"{at}.bn3", _convolve(state, f"{at}.conv3", out))
            if block == 0:
                x = _norm(state, f"{at}.downsample.1", _convolve(state, f"{at}.downsample.0", x, stride))
            if surplus := x.shape[-1] - out.shape[-1]:
                x = x[:, :, :-surplus, :-surplus]
            x = functional.relu(out + x)
    return x


def student_features(state: State, x: Tensor, operator: str = "NPR") -> Tensor:
    """Features before pooling, shape (N, 8, 126, 126) for 256x256."""
    x = _stem(state, x, operator)
    x = functional.relu(_norm(state, "layer1.0.bn1", _convolve(state, "layer1.0.conv1", x)))
    return functional.relu(_norm(state, "layer1.0.bn2", _convolve(state, "layer1.0.conv2", x, 2)))


def patch_scores(state: State, features: Tensor) -> Tensor:
    """The head on every position, as public code does without pooling; shape (N, rows, cols)."""
    return functional.linear(features.permute(0, 2, 3, 1), state["fc.weight"], state["fc.bias"])[..., 0]


def image_logit(state: State, features: Tensor) -> Tensor:
    """The head on globally averaged features, as public code does with pooling; shape (N,)."""
    pooled = functional.avg_pool2d(features, features.shape[-1], stride=1).flatten(1)
    return functional.linear(pooled, state["fc.weight"], state["fc.bias"])[:, 0]


def as_double(state: State) -> State:
    """The same state in float64."""
    return {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
