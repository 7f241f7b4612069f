"""Make the foreign pair: a small CNN with a map output as ONNX and as TFLite, by tools that this project does not use.

Run it in an environment of its own (``requirements.txt`` beside it)::

    python -m venv ENV && ENV/bin/pip install -r requirements.txt && ENV/bin/python make_foreign_pair.py

Nothing of this project is imported: names, layouts, size, padding and converter are others on purpose. The ONNX file
is channels first, ``pixels`` (N, 3, 96, 128) to ``evidence`` (N, 1, 12, 16); the TFLite file is channels last with the
converter's own names and takes one picture at a time. Neither pools. Sides differ so that a transpose shows.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import litert_torch
import onnx
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
HEIGHT, WIDTH, SEED = 96, 128, 20


class SmallMap(nn.Module):
    """Five convolutions with batch normalisation; one logit for every 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(24, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.head = nn.Conv2d(24, 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, (N, 1, H / 8, W / 8)."""
        found: torch.Tensor = self.head(self.down(self.mix(self.depthwise(self.stem(pixels)))))
        return found


def network() -> SmallMap:
    """Seeded weights, and statistics of the normalisation from seeded noise."""
    torch.manual_seed(SEED)
    made = SmallMap()
    with torch.no_grad():
        for _ in range(50):
            made(torch.randn(4, 3, HEIGHT, WIDTH))
        made.head.weight *= 4  # a map with a spread of about one logit
    return made.eval()


def without_traces(path: Path) -> None:
    """Take out what the exporter notes of the machine it ran on: paths and lines of source."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Write both files beside this script and print their digests."""
    made = network()
    example = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    torch.onnx.export(
        made,
        (example,),
        str(HERE / "small_map.onnx"),
        input_names=["pixels"],
        output_names=["evidence"],
        dynamic_shapes={"pixels": {0: "pictures"}},
        external_data=False,
        dynamo=True,
    )
    without_traces(HERE / "small_map.onnx")
    channels_last = litert_torch.to_channel_last_io(made, args=[0], outputs=[0]).eval()
    edge = litert_torch.convert(channels_last, (example.permute(0, 2, 3, 1).contiguous(),))
    edge.export(str(HERE / "small_map.tflite"))
    for name in ("small_map.onnx", "small_map.tflite"):
        content = (HERE / name).read_bytes()
        sys.stdout.write(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes\n")


if __name__ == "__main__":
    main()
