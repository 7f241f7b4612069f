"""E1.5 RGB, dtype and range at the model boundary: RGB order, dtype and range are asserted at the model boundary; a
violation hard-fails with a reason code.

A model scores a BGR, half-scaled or NaN tensor without complaint, and wrongly. Fails when a tensor that breaks the
contract reaches the model, when a channel changes its place, or when 16 bits are reduced otherwise than to the high
byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.contract.interface_section import FILE_KINDS
from ecdd.pipeline.decode import decode
from ecdd.pipeline.preprocess import check_tensor, normalise
from ecdd.pipeline.reason_codes import Rejected
from ecdd.runtimes.base import PatchRuntime
from ecdd.runtimes.registry import load_runtime
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenSet, PolicyContract, Prepared
from gates.support.made_pictures import asymmetric, encode, sixteen_bit_png


def violations(tensor: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """What a broken front end really hands over, by name."""
    broken_pixel = tensor.copy()
    broken_pixel[0, 7, 9, 1] = np.nan
    infinite = tensor.copy()
    infinite[0, 0, 0, 0] = np.inf
    return {
        "float64": tensor.astype(np.float64),
        "uint8 levels": np.zeros(tensor.shape, np.uint8),
        "NCHW": np.ascontiguousarray(tensor.transpose(0, 3, 1, 2)),
        "no batch axis": tensor[0],
        "empty batch": tensor[:0],
        "grey": tensor[..., :1],
        "with alpha": np.concatenate([tensor, tensor[..., :1]], axis=-1),
        "other size": tensor[:, :-1],
        "not a number": broken_pixel,
        "infinite": infinite,
        "levels not scaled": tensor * 255,
        "scaled twice": tensor / 255 - 3,
    }


@pytest.mark.experiment("E1.5")
def test_violations_are_rejected(evidence: Evidence, policy: PolicyContract) -> None:
    side = policy.pixel_pipeline.input_size
    levels = np.random.default_rng(15).integers(0, 2**8, (side, side, 3), dtype=np.uint8)
    tensor = normalise(levels, policy.pixel_pipeline)[None]
    check_tensor(tensor, policy.pixel_pipeline)
    accepted = [name for name, bad in violations(tensor).items() if _codes(check_tensor, bad, policy) != ("PX-001",)]
    n = len(violations(tensor))
    evidence.none("violations_accepted", accepted, n=n, unit="case")


def _codes(check: Callable[..., None], tensor: NDArray[Any], policy: PolicyContract) -> tuple[str, ...]:
    try:
        check(tensor, policy.pixel_pipeline)
    except Rejected as rejected:
        return tuple(rejected.codes)
    return ()


@pytest.mark.experiment("E1.5")
def test_the_detector_checks_before_the_model(
    evidence: Evidence, detector: Detector, golden: GoldenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor of the wrong range, planted behind S4, ends in PX-001 and never reaches the model."""
    from pathlib import Path

    from ecdd.pipeline import preprocess

    item = next(item for item in golden.by_set("in_scope") if item.expected.outcome == "reaches_model")
    really = preprocess.normalise
    monkeypatch.setattr(preprocess, "normalise", lambda s3, policy: really(s3, policy) * np.float32(255))
    calls = detector.model_calls
    verdict = detector.predict(Path(item.path))
    monkeypatch.undo()
    coded = "PX-001" in verdict.reason_codes and verdict.label == "abstain"
    evidence.check("planted_tensor_judged", int(not coded), limit=0, op="==", worst=verdict.reason_codes[:1], n=1)
    evidence.check("model_calls", detector.model_calls - calls, limit=0, op="==", unit="call", n=1)


@pytest.mark.experiment("E1.5")
def test_s1_is_rgb_uint8(evidence: Evidence, prepared: Prepared, golden: GoldenSet, policy: PolicyContract) -> None:
    shape = (policy.pixel_pipeline.input_size, policy.pixel_pipeline.input_size, 3)
    pictures = [(item, prepared(item)) for item in golden.items]
    wrong = [item.id for item, now in pictures if now.decoded is not None and now.decoded.image.mode != "RGB"]
    faces = [(item.id, face) for item, now in pictures for face in now.faces]
    odd = [key for key, face in faces if face.s3.dtype != np.uint8 or face.s3.shape != shape]
    evidence.none("s1_not_rgb", wrong, n=len(pictures))
    evidence.none("s3_not_uint8_256", odd, n=len(faces), unit="face")


@pytest.mark.experiment("E1.5")
def test_sixteen_bits_become_the_high_byte(evidence: Evidence, policy: PolicyContract) -> None:
    """A cast wraps and a clip saturates; both look plausible on a dark picture only."""
    rng = np.random.default_rng(16)
    grey = rng.integers(0, 65536, (32, 48), dtype=np.uint16)
    colour = rng.integers(0, 65536, (32, 48, 3), dtype=np.uint16)
    wrong = {}
    for name, values in (("grey", np.repeat(grey[..., None], 3, axis=2)), ("colour", colour)):
        source = grey if name == "grey" else colour
        got = np.asarray(decode(sixteen_bit_png(source), policy.pixel_pipeline).image, dtype=np.int32)
        wrong[name] = int(np.abs(got - (values >> 8)).max())
    worst = max(wrong, key=lambda key: wrong[key])
    evidence.check("max_difference_from_high_byte", wrong[worst], limit=0, op="==", unit="level", worst=[worst], n=2)


@pytest.mark.experiment("E1.5")
def test_channels_keep_their_order(evidence: Evidence, policy: PolicyContract) -> None:
    picture = asymmetric()
    got = decode(encode(picture, "PNG"), policy.pixel_pipeline).image
    difference = np.abs(np.asarray(got, np.int32) - np.asarray(picture, np.int32)).max()
    swapped = np.abs(np.asarray(got, np.int32) - np.asarray(picture, np.int32)[..., ::-1]).max()
    evidence.check("max_difference", int(difference), limit=0, op="==", unit="level", n=1)
    evidence.check("difference_if_swapped", int(swapped), limit=50, op=">=", unit="level", n=1)


def _plain_colours(policy: PolicyContract) -> list[NDArray[np.float32]]:
    """S4 of a red, an orange and a violet picture: what 8 bits may hide in noise, a whole picture shows."""
    side = policy.pixel_pipeline.input_size
    colours = ((255, 0, 0), (255, 128, 0), (128, 0, 255))
    pictures = [np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy() for colour in colours]
    return [normalise(picture, policy.pixel_pipeline)[None] for picture in pictures]


def _is_blind_to_order(runtime: PatchRuntime, batches: Sequence[NDArray[np.float32]]) -> bool:
    turned = (np.ascontiguousarray(batch[..., ::-1]) for batch in batches)
    return all(
        np.array_equal(runtime.outputs(one).maps, runtime.outputs(two).maps)
        for one, two in zip(batches, turned, strict=True)
    )


@pytest.mark.experiment("E1.5")
def test_the_files_read_what_the_contract_says(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """Name, layout, dtype, batch and order of the colours of both files; and whether that order matters to them."""
    said, side, wrong = policy.model_interface, policy.pixel_pipeline.input_size, []
    levels = np.random.default_rng(17).integers(0, 2**8, (1, side, side, 3), dtype=np.uint8)
    s4 = np.stack([normalise(one, policy.pixel_pipeline) for one in levels])
    for kind in FILE_KINDS:
        runtime = load_runtime(bundle, kind, 1)
        image, layout = runtime.chosen.image, said.input_layout[kind]
        shape = (side, side, 3) if layout == "NHWC" else (3, side, side)
        batch = "one" if image.shape[0] == 1 else "free"
        facts = {
            "name": (image.name, {said.input_name[kind]}),
            "shape": (image.shape[1:], {shape}),
            "dtype": (image.dtype, {said.input_dtype[kind]} if said.input_dtype[kind] != "any" else {image.dtype}),
            "batch": (batch, {said.batch[kind], "any"} if said.batch[kind] != "any" else {batch}),
        }
        wrong += [f"{kind}: {name} is {found}" for name, (found, allowed) in facts.items() if found not in allowed]
        given = s4[0] if said.input_channels == "RGB" else s4[0, ..., ::-1]
        native = runtime.interface.native(s4)[0]
        if not np.array_equal(native if layout == "NHWC" else native.transpose(1, 2, 0), given):
            wrong.append(f"{kind}: S4 does not reach the file in {layout} and {said.input_channels}")
        if _is_blind_to_order(runtime, [s4, *_plain_colours(policy)]):
            why = "noise and plain colours get the same answer with red and blue exchanged"
            evidence.not_tested(f"order of the colours in what {kind} answers", why)
    evidence.none("files_reading_something_else", wrong, n=6 * len(FILE_KINDS), unit="fact")
