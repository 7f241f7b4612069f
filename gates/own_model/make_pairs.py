"""Make the reference pairs: one small seeded network with every kind of output that teams bring, as TFLite and ONNX.

``python gates/own_model/make_pairs.py`` (extra ``export``) writes all files into ``pairs/``. Nothing is trained: two
convolutions over a 224 px face, and a head on their mean, drawn from a seed; of the first forty seeds the one whose
logit parts the golden faces best. Every pair says the same of a picture in another form, so that one set of
defects can be planted into all of them. The float files are TensorFlow's own conversion and ONNX operators; of
``uint8`` the ranges come from the golden faces.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from ecdd.contract.loading import load_contract
from ecdd.golden.golden_sets import load_golden
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.preprocess import normalise
from ecdd.pipeline.stages import prepare

HERE = Path(__file__).resolve().parent
PAIRS = HERE / "pairs"
SIDE, FIRST, SECOND, MARGIN = 224, 8, 16, 1.3
Weights = dict[str, np.ndarray]


def weights(seed: int) -> Weights:
    """Filters without a mean (so that flat skin says nothing), and a head; float32."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 0.2, (8, 8, 3, FIRST)), rng.normal(0, 0.2, (4, 4, FIRST, SECOND))
    first -= first.mean(axis=(0, 1), keepdims=True)
    head = rng.normal(0, 2, (SECOND, 1))
    return {name: value.astype(np.float32) for name, value in (("first", first), ("second", second), ("head", head))}


def network(given: Weights, kind: str, batch: int | None, layout: str) -> Any:
    """The network of one kind as a TensorFlow module."""
    shape = (batch, SIDE, SIDE, 3) if layout == "NHWC" else (batch, 3, SIDE, SIDE)

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="picture")])
        def __call__(self, picture: tf.Tensor) -> dict[str, tf.Tensor]:
            seen = tf.nn.relu(tf.nn.conv2d(picture, given["first"], 8, "VALID"))
            cells = tf.nn.relu(tf.nn.conv2d(seen, given["second"], 4, "VALID"))
            features = tf.reduce_mean(cells, (1, 2))
            score = tf.matmul(features, given["head"]) + given["bias"]
            if kind == "softmax":
                return {"classes": tf.nn.softmax(tf.concat([score, -score], 1) / 2)}
            if kind == "map":
                local = tf.squeeze(tf.nn.conv2d(cells, given["head"][None, None], 1, "VALID"), -1)
                return {"score": score, "heat": local + tf.reshape(score, (-1, 1, 1))}
            return {"score": score, "embedding": features} if kind == "embedding" else {"score": score}

    return Network()


def tflite(made: Any, faces: np.ndarray | None = None) -> bytes:
    """Converted by TensorFlow; with faces to 8-bit integers, uint8 outside."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([made.__call__.get_concrete_function()], made)
    if faces is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([face[None]] for face in faces)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def onnx_file(given: Weights, kind: str, batch: int | str, layout: str) -> bytes:
    """The same network as ONNX."""
    values = {"first": given["first"].transpose(3, 2, 0, 1), "second": given["second"].transpose(3, 2, 0, 1)}
    values |= {"head": given["head"], "bias": given["bias"], "kernel": given["head"].T[:, :, None, None]}
    values |= {"space": np.array([2, 3]), "channel": np.array([1]), "last": np.array([1, 2]), "half": np.float32([0.5])}
    start = [] if layout == "NCHW" else [helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2])]
    nodes = [
        *start,
        helper.make_node("Conv", ["picture" if layout == "NCHW" else "planes", "first"], ["a"], strides=[8, 8]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["cells"]),
        helper.make_node("ReduceMean", ["cells", "space"], ["embedding"], keepdims=0),
        helper.make_node("Gemm", ["embedding", "head", "bias"], ["score"]),
    ]
    outputs: dict[str, list[int | str]] = {"score": [batch, 1]}
    if kind == "softmax":
        nodes += [helper.make_node("Neg", ["score"], ["other"]),
                  helper.make_node("Concat", ["score", "other"], ["both"], axis=1),
                  helper.make_node("Mul", ["both", "half"], ["halved"]),
                  helper.make_node("Softmax", ["halved"], ["classes"], axis=1)]  # fmt: skip
        outputs = {"classes": [batch, 2]}
    if kind == "map":
        nodes += [helper.make_node("Conv", ["cells", "kernel"], ["d"]),
                  helper.make_node("Squeeze", ["d", "channel"], ["local"]),
                  helper.make_node("Unsqueeze", ["score", "channel"], ["wide"]),
                  helper.make_node("Add", ["local", "wide"], ["heat"])]  # fmt: skip
        outputs |= {"heat": [batch, 7, 7]}
    if kind == "embedding":
        outputs |= {"embedding": [batch, SECOND]}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info(
            "picture", TensorProto.FLOAT, [batch, 3, SIDE, SIDE] if layout == "NCHW" else [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in values.items() if name in used],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def golden_faces() -> tuple[np.ndarray, np.ndarray]:
    """S4 of the golden faces at 224 px, mean and standard deviation 0.5, and their labels."""
    values = {
        "pixel_pipeline.input_size": SIDE,
        "face_detector.crop_margin": MARGIN,
        "pixel_pipeline.normalisation_mean": [0.5] * 3,
        "pixel_pipeline.normalisation_std": [0.5] * 3,
    }
    policy = load_contract().with_values(values).policy
    detector, golden = load_detector(policy.face_detector), load_golden(HERE.parents[1] / "golden")
    found, labels = [], []
    for item in golden.by_set("in_scope"):
        for face in prepare(golden.file(item).read_bytes(), policy, detector).faces[:1]:
            found.append(normalise(face.s3, policy.pixel_pipeline))
            labels.append(int(item.expected.label == "fake"))
    return np.stack(found), np.array(labels)


def scores(given: Weights, faces: np.ndarray) -> np.ndarray:
    """Logits of faces."""
    return np.asarray(network(given, "logit", None, "NHWC")(tf.constant(faces))["score"])[:, 0]


def chosen_weights(faces: np.ndarray, labels: np.ndarray) -> Weights:
    """Of forty seeds and both signs the weights that part the faces best, scaled to unit spread, with the middle 0."""
    best: tuple[float, Weights] = (0.0, {})
    for seed in range(40):
        given = weights(seed) | {"bias": np.zeros(1, np.float32)}
        found = scores(given, faces)
        above = (found[labels == 1][:, None] > found[labels == 0]).mean()
        for sign, area in ((1, above), (-1, 1 - above)):
            if area > best[0]:
                scale = np.float32(sign * 1.5 / found.std())
                bias = np.array([-scale * found.mean()], np.float32)
                best = float(area), given | {"head": given["head"] * scale, "bias": bias}
    sys.stdout.write(f"AUC over the golden faces {best[0]:.3f}\n")
    return best[1]


def pairs(faces: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, TFLite and ONNX of every pair."""
    given = chosen_weights(faces, labels)
    yield "logit", tflite(network(given, "logit", None, "NHWC")), onnx_file(given, "logit", "N", "NHWC")
    yield "softmax", tflite(network(given, "softmax", None, "NHWC")), onnx_file(given, "softmax", "N", "NCHW")
    yield "uint8", tflite(network(given, "logit", 1, "NHWC"), faces), onnx_file(given, "logit", "N", "NHWC")
    yield "map", tflite(network(given, "map", None, "NHWC")), onnx_file(given, "map", "N", "NHWC")
    yield "one", tflite(network(given, "logit", 1, "NHWC")), onnx_file(given, "logit", 1, "NHWC")
    yield "embedding", tflite(network(given, "embedding", None, "NHWC")), onnx_file(given, "embedding", "N", "NHWC")


def main() -> None:
    """Write all files."""
    PAIRS.mkdir(exist_ok=True)
    for name, *contents in pairs(*golden_faces()):
        for content, kind in zip(contents, ("tflite", "onnx"), strict=True):
            (PAIRS / f"{name}.{kind}").write_bytes(content)
            sys.stdout.write(f"{name}.{kind}: {len(content)} bytes\n")


if __name__ == "__main__":
    main()
