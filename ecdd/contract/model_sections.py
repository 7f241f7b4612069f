"""Contract sections for the model, calibration and runtime (stages S5 to S8)."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from ecdd.contract.knob import Knob, Section

Rate = Annotated[float, Field(ge=0, le=1)]
# what a release promises of errors and abstentions: beyond a half it promises nothing
PromisedRate = Annotated[float, Field(ge=0, le=0.5)]


WHOLE_PICTURE: Final = "whole_picture"
FieldOfView = int | Literal["whole_picture"]
_BEYOND: Final = 2**15  # px; farther than any picture that a model reads is wide


def box_of(stride: int, receptive_field: FieldOfView, padding: int) -> tuple[int, int]:
    """Side of a cell's box and how far that of cell (0, 0) begins before pixel (0, 0), px.

    A cell that sees the whole picture has a box that is wider than any picture, around the middle of its own tile.
    """
    return (2 * _BEYOND, _BEYOND - stride // 2) if receptive_field == WHOLE_PICTURE else (receptive_field, padding)


def covers_picture(cells: int, stride: int, receptive_field: FieldOfView, padding: int, input_size: int) -> bool:
    """Whether the boxes of the first and the last of ``cells`` along one side cover all ``input_size`` px."""
    side, before = box_of(stride, receptive_field, padding)
    return stride * (cells - 1) <= before and side - before >= input_size


class PatchGrid(Section):
    """Shape and geometry of the patch-logit map (spec §1, S5).

    Cell (i, j) sees rows stride*i - padding … stride*i - padding + receptive_field - 1, and columns likewise, as far as
    they lie in the picture.
    """

    rows: Annotated[int, Knob("cell", "E3.1"), Field(description="height of the map", ge=1, le=512)]
    cols: Annotated[int, Knob("cell", "E3.1"), Field(description="width of the map", ge=1, le=512)]
    stride: Annotated[int, Knob("px", "E3.2"), Field(description="distance of neighbouring cells", ge=1, le=1024)]
    receptive_field: Annotated[
        Annotated[int, Field(ge=1)] | Literal["whole_picture"],
        Knob("px", "E3.2"),
        Field(description="side of a cell's box, or whole_picture"),
    ]
    padding: Annotated[int, Knob("px", "E3.2"), Field(description="pixels added at the border", ge=0)]
    input_operator: Annotated[
        Literal["NPR", "raw", "x_grad", "y_grad", "left_diag", "right_diag", "none"],
        Knob("none", "E3.1"),
        Field(description="fixed operator before the first convolution; none: the files hold all there is"),
    ]
    operator_scale: Annotated[
        float, Knob("none", "E3.1"), Field(description="factor on the operator's output", gt=0, le=10)
    ]
    checksum_step: Annotated[
        float, Knob("logit", "E3.1"), Field(description="rounding step of the S5 checksum", gt=0, le=1)
    ]
    tolerance_s5: Annotated[
        float,
        Knob("logit spread", "E5.2"),
        Field(description="S5, max |difference| / spread of the map", ge=0, le=1),
    ]

    @property
    def box(self) -> tuple[int, int]:
        """Side of a cell's box, and how far that of cell (0, 0) begins before pixel (0, 0), px."""
        return box_of(self.stride, self.receptive_field, self.padding)

    def sees_whole_picture(self, input_size: int) -> bool:
        """Whether the box of every cell covers a picture of ``input_size`` px, so that none lies outside any box."""
        return covers_picture(max(self.rows, self.cols), self.stride, self.receptive_field, self.padding, input_size)


PoolingRule = Literal["mean", "top_k", "trimmed_mean", "attention", "none"]
POOLING_RULES: Final = tuple(rule for rule in get_args(PoolingRule) if rule != "none")  # over a map


class Pooling(Section):
    """From the patch-logit map to one logit (spec §1, S6)."""

    rule: Annotated[
        PoolingRule,
        Knob("none", "E3.3"),
        Field(description="pooling rule; none: the file's own output decides"),
    ]
    top_k_ratio: Annotated[float, Knob("ratio", "E3.4"), Field(description="K = ceil(ratio x cells)", gt=0, le=1)]
    trim_fraction: Annotated[
        float,
        Knob("ratio", "E3.3"),
        Field(description="share cut from each end for trimmed_mean", ge=0, lt=0.5),
    ]
    attention_temperature: Annotated[
        float, Knob("logit", "E3.5"), Field(description="softmax temperature for attention", gt=0, le=100)
    ]
    max_patch_reaction: Annotated[
        float,
        Knob("sd of the logit", "E3.3"),
        Field(description="largest move of the pooled logit by one noisy patch", gt=0, le=10),
    ]
    tie_break: Annotated[
        Literal["lowest_index"], Knob("none", "E3.4"), Field(description="equal logits: row-major order")
    ]
    dtype: Annotated[
        Literal["float32"],
        Knob("none", "E3.3"),
        Field(description="dtype of the sum; the reference is float64"),
    ]
    tolerance_s6: Annotated[float, Knob("logit", "E5.3"), Field(description="S6, max absolute difference", ge=0, le=1)]


class Calibration(Section):
    """From a pooled logit to a probability (spec §1, S7)."""

    method: Annotated[
        Literal["temperature", "platt", "isotonic"], Knob("none", "E4.2"), Field(description="frozen method")
    ]
    min_samples_per_class: Annotated[
        int,
        Knob("picture", "E4.1"),
        Field(description="smallest calibration set, each class", ge=10, le=100_000),
    ]
    sampling_rule: Annotated[
        Literal["stratified_by_source"], Knob("none", "E4.1"), Field(description="how the set is drawn")
    ]
    max_age_days: Annotated[int, Knob("day", "E4.1"), Field(description="older sets must be refreshed", ge=1, le=3650)]
    tolerance_s7: Annotated[
        float, Knob("probability", "E5.1"), Field(description="S7, max absolute difference", ge=0, le=0.2)
    ]


class OperatingPoint(Section):
    """Thresholds and the constraint that they meet (spec §1, S8)."""

    max_fpr: Annotated[PromisedRate, Knob("rate", "E4.4"), Field(description="primary: reals called fake, upper bound")]
    max_fnr: Annotated[PromisedRate, Knob("rate", "E4.4"), Field(description="secondary: fakes called real, bound")]
    confidence: Annotated[
        float, Knob("probability", "E4.4"), Field(description="confidence of the bounds", ge=0.5, lt=1)
    ]
    max_abstain_rate: Annotated[PromisedRate, Knob("rate", "E4.5"), Field(description="of each class, at the model")]
    max_threshold_spread: Annotated[
        float,
        Knob("probability", "E4.2"),
        Field(description="width that holds 90 % of a threshold's resamples", gt=0, le=1),
    ]
    t_real: Annotated[float, Knob("probability", "E4.5"), Field(description="P(fake) at or below: real", gt=0, lt=1)]
    t_fake: Annotated[float, Knob("probability", "E4.4"), Field(description="P(fake) at or above: fake", gt=0, lt=1)]
    abstain_action: Annotated[
        Literal["request_retry", "manual_review", "block"],
        Knob("none", "E4.5"),
        Field(description="what a user interface does on abstain"),
    ]
    unseen_max_fpr: Annotated[PromisedRate, Knob("rate", "E6.5"), Field(description="of every source no model saw")]
    unseen_max_fnr: Annotated[PromisedRate, Knob("rate", "E6.5"), Field(description="of every family no model saw")]
    unseen_max_abstain_rate: Annotated[
        PromisedRate, Knob("rate", "E6.5"), Field(description="of every source and family that no model saw")
    ]

    @model_validator(mode="after")
    def _band_is_ordered(self) -> OperatingPoint:
        if self.t_real >= self.t_fake:
            msg = f"t_real {self.t_real} is not below t_fake {self.t_fake}; the abstain band would be empty or inverted"
            raise ValueError(msg)
        return self


class Quantization(Section):
    """How the shipped model file is quantised and how close it must stay (spec §1)."""

    mode: Annotated[
        Literal["float32", "float16", "dynamic_range", "weight_only_int8", "full_int8", "int16x8"],
        Knob("none", "E5.1"),
        Field(description="shipped mode"),
    ]
    releasable: Annotated[
        list[Literal["float32", "float16", "dynamic_range", "weight_only_int8", "full_int8", "int16x8"]],
        Knob("none", "E5.1"),
        Field(description="modes held to the limits below; the shipped one always is", min_length=1, max_length=6),
    ]
    min_representative: Annotated[
        int, Knob("picture", "E5.1"), Field(description="smallest representative set", ge=2, le=10_000)
    ]
    max_range_instability: Annotated[
        float,
        Knob("ratio", "E5.1"),
        Field(description="widest / narrowest range that two halves of the representative set give", ge=1, le=10),
    ]
    max_probability_difference: Annotated[
        Rate, Knob("probability", "E5.1"), Field(description="max |p(shipped) - p(float reference)|")
    ]
    max_patch_difference: Annotated[
        float,
        Knob("logit spread", "E5.2"),
        Field(description="any cell's |difference| / spread of the map, where activations are float", ge=0, le=1),
    ]
    max_mean_patch_difference: Annotated[
        float,
        Knob("logit spread", "E5.2"),
        Field(description="a map's mean |difference| / its spread", ge=0, le=1),
    ]
    max_argmax_loss: Annotated[
        float,
        Knob("logit spread", "E5.2"),
        Field(description="how far the cell that is called the worst may lie below the worst", ge=0, le=1),
    ]
    min_rank_correlation: Annotated[
        Rate, Knob("correlation", "E5.2"), Field(description="Spearman's, over a map's cells and over the pictures")
    ]
    max_pooled_difference: Annotated[
        float, Knob("logit", "E5.3"), Field(description="max |difference| of the pooled logit", ge=0, le=10)
    ]
    max_decision_flips: Annotated[Rate, Knob("rate", "E5.1"), Field(description="share of decisions that change")]
    recalibrate: Annotated[
        Literal[True],
        Knob("none", "E5.4"),
        Field(description="calibration is fitted on the shipped model's own logits"),
    ]


class Runtime(Section):
    """The configuration the numbers were measured with (spec §1)."""

    backend: Annotated[
        Literal["tflite"], Knob("none", "E5.5"), Field(description="inference library of the shipped file")
    ]
    delegate: Annotated[Literal["xnnpack", "none"], Knob("none", "E5.5"), Field(description="kernels")]
    threads: Annotated[int, Knob("thread", "E5.5"), Field(description="threads of one interpreter", ge=1, le=64)]
    max_latency: Annotated[
        float,
        Knob("millisecond", "E5.5"),
        Field(description="budget, warm 512x512 picture, one thread", gt=0, le=10_000),
    ]
    max_memory: Annotated[
        float, Knob("megabyte", "E5.5"), Field(description="budget, peak of a cold predict", gt=0, le=16_384)
    ]
