"""What a file's inputs and outputs must be: each fact that differs is refused, everything allowed is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.model_interface import OPEN, ModelInterface, TensorFacts, numbers_of_a_picture

PICTURE = TensorFacts("image", "float32", (OPEN, 256, 256, 3))
MAP = TensorFacts("patch_logits", "float32", (OPEN, 8, 8))
LOGIT = TensorFacts("pooled_logit", "float32", (OPEN,))
OURS = ModelInterface(256, 8, 8)
INT8 = AffineQuantisation("int8", 0.02, 3)
CLASSES = ModelInterface(
    256, 8, 8, map_name="", pooled_name="classes", kind="class_logits", classes=2, fake=1, ignored=("embedding",)
)


def taken(needed: ModelInterface, inputs: list[TensorFacts], outputs: list[TensorFacts]) -> bool:
    try:
        needed.select("m.tflite", inputs, outputs)
    except RuntimeFileError:
        return False
    return True


@pytest.mark.parametrize(
    ("picture", "needed"),
    [
        (PICTURE, OURS),
        (replace(PICTURE, shape=(1, 256, 256, 3)), OURS),
        (replace(PICTURE, shape=(1, 256, 256, 3)), replace(OURS, batch="one")),
        (PICTURE, replace(OURS, batch="free")),
        (replace(PICTURE, shape=(OPEN, OPEN, OPEN, 3)), OURS),
        (replace(PICTURE, shape=(OPEN, 3, 256, 256)), replace(OURS, layout="NCHW")),
        (PICTURE, replace(OURS, dtype="float32")),
        (replace(PICTURE, dtype="int8", quantisation=INT8), OURS),
        (replace(PICTURE, dtype="int8", quantisation=INT8), replace(OURS, dtype="int8")),
        (replace(PICTURE, dtype="uint8"), replace(OURS, levels=True)),
    ],
)
def test_a_picture_as_the_contract_says_is_taken(picture: TensorFacts, needed: ModelInterface) -> None:
    assert taken(needed, [picture], [MAP, LOGIT])


@pytest.mark.parametrize(
    ("inputs", "needed"),
    [
        ([], OURS),
        ([PICTURE, replace(PICTURE, name="other")], OURS),
        ([replace(PICTURE, name="other")], OURS),
        ([replace(PICTURE, dtype="float64")], OURS),
        ([replace(PICTURE, dtype="int8", quantisation=INT8)], replace(OURS, dtype="float32")),
        ([PICTURE], replace(OURS, dtype="int8")),
        ([PICTURE], replace(OURS, batch="one")),
        ([replace(PICTURE, shape=(1, 256, 256, 3))], replace(OURS, batch="free")),
        ([replace(PICTURE, shape=(4, 256, 256, 3))], OURS),
        ([replace(PICTURE, shape=(OPEN, 224, 256, 3))], OURS),
        ([replace(PICTURE, shape=(OPEN, 256, 224, 3))], OURS),
        ([replace(PICTURE, shape=(OPEN, 256, 256, 4))], OURS),
        ([replace(PICTURE, shape=(256, 256, 3))], OURS),
        ([PICTURE], replace(OURS, layout="NCHW")),
        ([replace(PICTURE, dtype="uint8")], OURS),
        ([replace(PICTURE, dtype="int8")], replace(OURS, levels=True)),
    ],
)
def test_an_input_that_differs_is_refused(inputs: list[TensorFacts], needed: ModelInterface) -> None:
    assert not taken(needed, inputs, [MAP, LOGIT])


@pytest.mark.parametrize(("layout", "wanted"), [("NHWC", "(N, 256, 256, 3)"), ("NCHW", "(N, 3, 256, 256)")])
def test_a_refusal_shows_the_shape_in_the_contract_s_layout(layout: Literal["NHWC", "NCHW"], wanted: str) -> None:
    with pytest.raises(RuntimeFileError) as caught:
        replace(OURS, layout=layout).select("m.tflite", [replace(PICTURE, name="other")], [MAP])
    assert wanted in caught.value.expected


@pytest.mark.parametrize("shape", [(OPEN, 8, 8), (1, 8, 8), (OPEN, 8, 8, 1), (OPEN, 1, 8, 8), (OPEN, OPEN, OPEN)])
def test_every_form_of_a_map_is_taken(shape: tuple[int, ...]) -> None:
    assert taken(OURS, [PICTURE], [replace(MAP, shape=shape), LOGIT])
    assert taken(OURS, [PICTURE], [replace(MAP, shape=shape)])  # patch logits need no pooled output beside them


@pytest.mark.parametrize("shape", [(OPEN, 8, 7), (OPEN, 7, 8), (OPEN, 64), (8, 8), (2, 8, 8), (OPEN, 2, 8, 8), (OPEN,)])
def test_a_map_of_another_form_is_refused(shape: tuple[int, ...]) -> None:
    assert not taken(OURS, [PICTURE], [replace(MAP, shape=shape), LOGIT])


ONE_NUMBER = [(OPEN,), (1,), (OPEN, 1), (OPEN, 1, 1), (OPEN, 1, 1, 1)]
OTHERS = [(OPEN, 2), (OPEN, 3), (2,), (OPEN, 8, 8), (OPEN, 1, 2, 1), ()]


@pytest.mark.parametrize("shape", ONE_NUMBER)
def test_every_form_of_one_number_is_taken(shape: tuple[int, ...]) -> None:
    assert taken(OURS, [PICTURE], [MAP, replace(LOGIT, shape=shape)])
    assert numbers_of_a_picture(replace(LOGIT, shape=shape)) == 1


@pytest.mark.parametrize("shape", OTHERS)
def test_a_pooled_output_of_another_form_is_refused(shape: tuple[int, ...]) -> None:
    assert not taken(OURS, [PICTURE], [MAP, replace(LOGIT, shape=shape)])


@pytest.mark.parametrize("shape", [(OPEN, 2), (1, 2), (OPEN, 2, 1, 1), (OPEN, 1, 1, 2), (OPEN, 1, 2), (OPEN, 2, 1)])
def test_every_form_of_two_classes_is_taken(shape: tuple[int, ...]) -> None:
    classes = TensorFacts("classes", "float32", shape)
    assert taken(CLASSES, [PICTURE], [classes])
    assert numbers_of_a_picture(classes) == 2


@pytest.mark.parametrize("shape", [(OPEN,), (2,), (OPEN, 1), (OPEN, 3), (OPEN, 2, 2), (OPEN, OPEN, 2, 2)])
def test_classes_of_another_form_are_refused(shape: tuple[int, ...]) -> None:
    assert not taken(CLASSES, [PICTURE], [TensorFacts("classes", "float32", shape)])


def test_outputs_are_those_that_are_named() -> None:
    classes, more = TensorFacts("classes", "float32", (OPEN, 2)), TensorFacts("embedding", "int64", (OPEN, 9, 9))
    assert taken(CLASSES, [PICTURE], [classes, more])
    assert taken(CLASSES, [PICTURE], [classes])
    assert not taken(CLASSES, [PICTURE], [more])
    assert not taken(CLASSES, [PICTURE], [classes, replace(more, name="another")])
    assert not taken(CLASSES, [PICTURE], [classes, classes])
    assert not taken(OURS, [PICTURE], [LOGIT])
    assert not taken(OURS, [PICTURE], [])


def test_integers_need_a_scale_unless_they_decide_nothing() -> None:
    bare, wrong = replace(LOGIT, dtype="int8"), replace(LOGIT, dtype="int8", quantisation=replace(INT8, scale=0.0))
    assert taken(OURS, [PICTURE], [MAP, replace(bare, quantisation=INT8)])
    assert not taken(OURS, [PICTURE], [MAP, bare])
    assert not taken(OURS, [PICTURE], [MAP, wrong])
    classes = TensorFacts("classes", "float32", (OPEN, 2))
    assert taken(CLASSES, [PICTURE], [classes, TensorFacts("embedding", "int8", (OPEN, 9))])


def test_a_number_without_a_map_is_a_map_of_one_cell() -> None:
    needed = replace(OURS, map_name="", kind="logit")
    chosen = needed.select("m.tflite", [PICTURE], [LOGIT])
    numbers = np.array([0.5, -2.0], np.float32)
    found = needed.answer("m.tflite", chosen, {LOGIT.name: numbers})
    assert found.pooled is not None
    assert found.pooled.tolist() == numbers.tolist()
    assert found.maps.tolist() == [[[0.5]], [[-2.0]]]


def test_a_probability_becomes_its_logit() -> None:
    needed = replace(OURS, map_name="", kind="probability")
    chosen = needed.select("m.tflite", [PICTURE], [LOGIT])
    found = needed.answer("m.tflite", chosen, {LOGIT.name: np.array([0.5, 0.9, 0.001], np.float32)})
    assert found.pooled == pytest.approx(np.log([1, 9, 0.001 / 0.999]), abs=1e-5)


def test_tensors_are_chosen_by_their_name() -> None:
    chosen = OURS.select("m.tflite", [PICTURE], [LOGIT, MAP])
    assert (chosen.image, chosen.patch_map, chosen.logit) == (PICTURE, MAP, LOGIT)
    levels = replace(PICTURE, dtype="uint8")
    image = replace(OURS, levels=True).select("m.tflite", [levels], [MAP]).image
    assert image.quantisation == AffineQuantisation("uint8", 1.0, 0)
    assert numbers_of_a_picture(MAP) == 0
    assert numbers_of_a_picture(replace(MAP, shape=(OPEN, OPEN))) == 0
    assert numbers_of_a_picture(replace(MAP, shape=())) == 0
