"""Contract section for the inputs and outputs of the model files: what each is called, how it lies, what it means."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from ecdd.contract.knob import Knob, Section

FileKind = Literal["tflite", "onnx"]
OutputKind = Literal["patch_logits", "logit", "probability", "class_logits", "class_probabilities"]
FILE_KINDS: Final[tuple[FileKind, ...]] = ("tflite", "onnx")
CLASS_KINDS: Final = ("class_logits", "class_probabilities")


class ModelInterface(Section):
    """Names, layout and meaning of the model files' inputs and outputs (spec §1, S4 to S6)."""

    input_name: Annotated[
        dict[FileKind, str], Knob("none", "E1.5"), Field(description="name of the picture's tensor, by file")
    ]
    input_layout: Annotated[
        dict[FileKind, Literal["NHWC", "NCHW"]],
        Knob("none", "E1.5"),
        Field(description="where the colours lie, by file; S4 itself is NHWC"),
    ]
    input_dtype: Annotated[
        dict[FileKind, Literal["any", "float32", "uint8", "int8", "int16"]],
        Knob("none", "E1.5"),
        Field(description="dtype of the picture's tensor, by file; any: what the file states"),
    ]
    input_channels: Annotated[
        Literal["RGB", "BGR"],
        Knob("none", "E1.5"),
        Field(description="order in which the model reads the colours; S4 itself is RGB"),
    ]
    batch: Annotated[
        dict[FileKind, Literal["any", "free", "one"]],
        Knob("none", "E1.5"),
        Field(description="pictures of one call, by file; any: free, or fixed to one"),
    ]
    output_kind: Annotated[
        OutputKind, Knob("none", "E5.3"), Field(description="what decides: the map, or an output of its own kind")
    ]
    logit_name: Annotated[
        dict[FileKind, str],
        Knob("none", "E5.3"),
        Field(description="output that decides, by file; of patch_logits the pooled logit, if it is there"),
    ]
    map_name: Annotated[
        dict[FileKind, str], Knob("none", "E5.2"), Field(description="patch-logit map, by file; empty where none")
    ]
    class_names: Annotated[
        list[str],
        Knob("none", "E5.3"),
        Field(description="classes in the file's order; of one number empty, or two: it speaks for the second"),
    ]
    fake_index: Annotated[
        int, Knob("none", "E5.3"), Field(description="place of fake among the classes, from 0", ge=0, le=9999)
    ]
    probability_clip: Annotated[
        float,
        Knob("probability", "E5.3"),
        Field(description="probabilities are kept this far from 0 before they become logits", gt=0, le=0.01),
    ]
    ignored_outputs: Annotated[
        dict[FileKind, list[str]],
        Knob("none", "E5.3"),
        Field(description="outputs that decide nothing, by file; parity compares them all the same"),
    ]

    @model_validator(mode="after")
    def _kind_has_its_parts(self) -> ModelInterface:
        tables = ("input_name", "input_layout", "input_dtype", "batch", "logit_name", "map_name", "ignored_outputs")
        for name in tables:
            missing = [kind for kind in FILE_KINDS if kind not in getattr(self, name)]
            if missing:
                raise ValueError(f"{name} says nothing of {', '.join(missing)}; name both tflite and onnx")
        deciding = "map_name" if self.output_kind == "patch_logits" else "logit_name"
        unnamed = [kind for kind, name in getattr(self, deciding).items() if not name]
        if unnamed:
            raise ValueError(
                f"{deciding} is empty for {', '.join(unnamed)}, and output_kind {self.output_kind} needs it"
            )
        many = self.output_kind in CLASS_KINDS
        if many and len(self.class_names) < 2:
            raise ValueError(f"class_names has {len(self.class_names)} names; {self.output_kind} needs two or more")
        if not many and len(self.class_names) not in {0, 2}:
            raise ValueError(
                f"class_names has {len(self.class_names)} names; {self.output_kind} is one number: leave it empty "
                "where larger means fake, or name two classes, of which the number speaks for the second"
            )
        if self.class_names and self.fake_index >= len(self.class_names):
            raise ValueError(f"fake_index {self.fake_index} is no place among {len(self.class_names)} class_names")
        return self
