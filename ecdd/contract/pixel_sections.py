"""Contract sections for pixels, faces and input quality (stages S0 to S4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ecdd.contract.knob import Knob, Section

ImageFormat = Literal["JPEG", "PNG", "WEBP"]
Kernel = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Level = Annotated[int, Field(ge=0, le=255)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PixelPipeline(Section):
    """Preprocessing equivalence: from a file's bytes to the tensor the model reads (spec §1, S0, S1, S3, S4)."""

    decoder: Annotated[Literal["pillow"], Knob("none", "E1.3"), Field(description="the only decode library")]
    decoder_version: Annotated[
        str,
        Knob("none", "E1.3"),
        Field(description="exact version the golden S1 was frozen with", pattern=r"^\d+\.\d+\.\d+$"),
    ]
    accepted_formats: Annotated[
        list[ImageFormat],
        Knob("none", "E1.2"),
        Field(description="formats, recognised by content", min_length=1),
    ]
    max_bytes: Annotated[int, Knob("byte", "E1.2"), Field(description="largest file", ge=1024, le=2**30)]
    max_pixels: Annotated[
        int, Knob("px", "E1.2"), Field(description="largest width x height", ge=65536, le=200_000_000)
    ]
    max_decode_bytes: Annotated[
        int,
        Knob("byte", "E1.2"),
        Field(description="largest memory that decoding may need, known from the header", ge=2**20, le=2**32),
    ]
    max_metadata_bytes: Annotated[
        int,
        Knob("byte", "E1.2"),
        Field(description="largest decompressed metadata (EXIF, ICC, text)", ge=1024, le=2**26),
    ]
    exif_orientation: Annotated[
        Literal["apply", "ignore"],
        Knob("none", "E1.4"),
        Field(description="EXIF orientation tag 1 to 8; other values count as 1"),
    ]
    icc_policy: Annotated[
        Literal["assume_srgb", "convert_to_srgb"],
        Knob("none", "E1.6"),
        Field(description="what an embedded profile does"),
    ]
    gamma_policy: Annotated[
        Literal["none"],
        Knob("none", "E1.6"),
        Field(description="no linearisation; a PNG gAMA chunk is ignored"),
    ]
    alpha_policy: Annotated[
        Literal["composite", "reject"], Knob("none", "E1.7"), Field(description="pictures with transparency")
    ]
    alpha_background: Annotated[
        list[Level],
        Knob("level", "E1.7"),
        Field(description="RGB under a transparent picture", min_length=3, max_length=3),
    ]
    sixteen_bit_policy: Annotated[
        Literal["high_byte", "reject"],
        Knob("none", "E1.5"),
        Field(description="16-bit channels: value // 256, or refused"),
    ]
    cmyk_policy: Annotated[
        Literal["convert", "reject"],
        Knob("none", "E1.6"),
        Field(description="CMYK: plain conversion without profile, or refused"),
    ]
    animation_policy: Annotated[
        Literal["reject"], Knob("none", "E1.2"), Field(description="pictures of several frames")
    ]
    trailing_data_policy: Annotated[
        Literal["accept", "reject"],
        Knob("none", "E1.2"),
        Field(description="bytes behind the end of the picture"),
    ]
    disguise_policy: Annotated[
        Literal["reject", "accept"],
        Knob("none", "E1.2"),
        Field(description="content of another format than the file's extension"),
    ]
    channel_order: Annotated[Literal["RGB"], Knob("none", "E1.5"), Field(description="order of the colour channels")]
    input_size: Annotated[
        int, Knob("px", "E1.8"), Field(description="side of the square the model reads", ge=64, le=1024)
    ]
    resize_kernel: Annotated[Kernel, Knob("none", "E1.8"), Field(description="kernel of the one resize, crop to input")]
    resize_antialias: Annotated[
        Literal[True],
        Knob("none", "E1.8"),
        Field(description="kernel support grows with the reduction factor"),
    ]
    resize_reducing_gap: Annotated[
        Literal["none"], Knob("none", "E1.8"), Field(description="no box pre-reduction before the resize")
    ]
    pixel_scale: Annotated[
        float,
        Knob("1/level", "E1.9"),
        Field(description="factor from level to unit range before mean and std", gt=0, le=1),
    ]
    normalisation_mean: Annotated[
        list[float],
        Knob("none", "E1.9"),
        Field(description="RGB mean in unit range", min_length=3, max_length=3),
    ]
    normalisation_std: Annotated[
        list[Annotated[float, Field(gt=0)]],
        Knob("none", "E1.9"),
        Field(description="RGB standard deviation in unit range", min_length=3, max_length=3),
    ]
    tensor_dtype: Annotated[Literal["float32"], Knob("none", "E1.5"), Field(description="dtype of S4")]
    tensor_layout: Annotated[Literal["NHWC"], Knob("none", "E1.5"), Field(description="layout of S4")]
    tolerance_s3: Annotated[
        int,
        Knob("level", "E1.8"),
        Field(description="S3, only where the decoder fingerprint differs", ge=0, le=4),
    ]
    tolerance_s4: Annotated[
        float, Knob("none", "E1.9"), Field(description="S4, max absolute difference", ge=0, le=1e-3)
    ]


class FaceDetector(Section):
    """Identity and settings of the face detector, and how a face is cut out (spec §1 Guardrails, S2)."""

    name: Annotated[
        Literal["blazeface_full_range", "dlib_hog"], Knob("none", "E2.1"), Field(description="which detector")
    ]
    version: Annotated[str, Knob("none", "E2.1"), Field(description="version of the weights", min_length=1)]
    weights_sha256: Annotated[Sha256, Knob("none", "E2.1"), Field(description="SHA-256 of the weight file")]
    detection_size: Annotated[
        int,
        Knob("px", "E2.1"),
        Field(description="side of the letterboxed square the detector reads", ge=64, le=1024),
    ]
    detection_downscale: Annotated[
        Literal["reduce_then_bilinear", "bilinear"],
        Knob("none", "E2.1"),
        Field(description="how the picture is made small for detection only"),
    ]
    score_threshold: Annotated[float, Knob("score", "E2.3"), Field(description="a face counts from here", ge=0, le=1)]
    candidate_threshold: Annotated[
        float,
        Knob("score", "E2.3"),
        Field(description="between this and score_threshold: low face confidence", ge=0, le=1),
    ]
    nms_iou: Annotated[float, Knob("ratio", "E2.1"), Field(description="boxes overlapping more are merged", gt=0, lt=1)]
    crop_margin: Annotated[
        float,
        Knob("ratio", "E2.4"),
        Field(description="side of the crop / longer side of the face box", ge=1, le=4),
    ]
    crop_alignment: Annotated[
        Literal["axis_aligned", "eye_line"],
        Knob("none", "E2.4"),
        Field(description="axis aligned, or turned to the eye line"),
    ]
    crop_overflow: Annotated[
        Literal["shift_then_shrink", "replicate"],
        Knob("none", "E2.4"),
        Field(description="a crop beyond the picture is moved inside, then shrunk; or the edge pixels are repeated"),
    ]
    tolerance_box: Annotated[
        float,
        Knob("px", "E2.1"),
        Field(description="S2 box and landmarks, only where the fingerprint differs", ge=0, le=8),
    ]
    tolerance_score: Annotated[
        float,
        Knob("score", "E2.1"),
        Field(description="S2 score, only where the fingerprint differs", ge=0, le=0.1),
    ]
    second_look: Annotated[
        Literal["off", "border", "border_and_turns"],
        Knob("none", "E2.9"),
        Field(description="where no face counts: look again with a border of air, then turned by quarter turns"),
    ]
    second_look_border: Annotated[
        float, Knob("ratio", "E2.9"), Field(description="border a side / longer side of the picture", ge=0, le=2)
    ]
    second_look_score: Annotated[
        float, Knob("score", "E2.9"), Field(description="a face of the second look counts from here", ge=0, le=1)
    ]
    second_look_presence: Annotated[
        float,
        Knob("probability", "E2.9"),
        Field(description="and from this presence of the face mesh", ge=0, le=1),
    ]
    second_look_air: Annotated[
        float,
        Knob("ratio", "E2.9"),
        Field(description="largest gap between face mesh and the picture's nearest edge / mesh width", ge=0, le=10),
    ]
    second_look_sha256: Annotated[Sha256, Knob("none", "E2.9"), Field(description="SHA-256 of the face mesh's file")]
    second_look_doubt: Annotated[
        float,
        Knob("score", "E2.9"),
        Field(
            description="a face of the first look below this is confirmed by second_look_presence; 0 never",
            ge=0,
            le=1,
        ),
    ]
    second_look_parts_ratio: Annotated[
        float,
        Knob("ratio", "E2.9"),
        Field(
            description="longer / shorter side, beyond: with a second look, squares along it are read too; 0 never",
            ge=0,
            le=100,
        ),
    ]
    second_look_parts_overlap: Annotated[
        float,
        Knob("ratio", "E2.9"),
        Field(description="what neighbouring squares share at least / their side", ge=0, le=0.9),
    ]
    second_look_parts_logit: Annotated[
        float,
        Knob("logit", "E2.9"),
        Field(
            description="a face of a part counts from this logit of the face mesh's presence",
            ge=-60,
            le=60,
        ),
    ]
    second_look_parts_score: Annotated[
        float,
        Knob("score", "E2.9"),
        Field(description="or from this score, with second_look_presence", ge=0, le=1),
    ]
    second_look_parts_most: Annotated[
        int,
        Knob("part", "E2.9"),
        Field(description="more squares: none is read, so that a very long picture costs no more", ge=2, le=256),
    ]
    tolerance_framing: Annotated[
        float,
        Knob("ratio", "E2.9"),
        Field(description="move of the face box under another framing / its longer side", ge=0, le=1),
    ]

    @model_validator(mode="after")
    def _candidate_below_threshold(self) -> FaceDetector:
        if self.candidate_threshold > self.score_threshold:
            limit = f"score_threshold {self.score_threshold}"
            msg = f"candidate_threshold {self.candidate_threshold} is above {limit}; lower it"
            raise ValueError(msg)
        if self.second_look != "off" and self.name != "blazeface_full_range":
            msg = f"second_look {self.second_look} needs name blazeface_full_range, which is {self.name}; set it to off"
            raise ValueError(msg)
        return self


class QualityGates(Section):
    """When a picture or a face is not judged at all (spec §1 Guardrails)."""

    min_image_side: Annotated[int, Knob("px", "E2.6"), Field(description="shorter side of the picture", ge=1, le=2048)]
    min_face_side: Annotated[int, Knob("px", "E2.6"), Field(description="longer side of the face box", ge=8, le=1024)]
    blur_metric: Annotated[Literal["laplacian_variance"], Knob("none", "E2.7"), Field(description="crop at 256 px")]
    blur_threshold: Annotated[float, Knob("level^2", "E2.7"), Field(description="below: too blurry", ge=0, le=10_000)]
    blur_warning: Annotated[
        float,
        Knob("level^2", "E2.7"),
        Field(description="below: reported as soft, still judged", ge=0, le=10_000),
    ]
    min_jpeg_quality: Annotated[
        int, Knob("IJG quality", "E2.8"), Field(description="below: compression too heavy", ge=1, le=100)
    ]
    max_blockiness: Annotated[
        float,
        Knob("ratio", "E2.8"),
        Field(
            description="8x8 grid step / step elsewhere, above: too heavy, also when quality is unknown",
            ge=1,
            le=100,
        ),
    ]
    low_quality_policy: Annotated[
        Literal["abstain", "stricter_threshold"],
        Knob("none", "E4.6"),
        Field(description="what heavy compression does"),
    ]
    multi_face_policy: Annotated[
        Literal["max_p_fake", "largest_face", "reject_multi"],
        Knob("none", "E2.5"),
        Field(description="which face decides"),
    ]
    max_faces: Annotated[int, Knob("face", "E2.5"), Field(description="more faces: abstain", ge=1, le=64)]
    max_missed_faces: Annotated[
        float, Knob("rate", "E2.3"), Field(description="faces in scope that score_threshold may miss", ge=0, le=1)
    ]
    max_leak: Annotated[
        float,
        Knob("rate", "E2.2"),
        Field(
            description="pictures without a face that may be judged, upper bound at the contract's confidence",
            ge=0,
            le=1,
        ),
    ]
    max_reversals: Annotated[
        float,
        Knob("rate", "E2.6"),
        Field(description="judged faces inside a gate whose label a degradation may turn around", ge=0, le=1),
    ]
    min_rank_stability: Annotated[
        float,
        Knob("none", "E2.6"),
        Field(
            description="rank correlation of scores before and after, faces degraded to just inside a gate", ge=0, le=1
        ),
    ]
    max_mean_shift: Annotated[
        float,
        Knob("probability", "E2.6"),
        Field(description="mean change of p_fake of faces degraded to just inside a gate", ge=0, le=1),
    ]
    unjudged_face_policy: Annotated[
        Literal["abstain", "ignore"],
        Knob("none", "E2.5"),
        Field(description="no judged face is fake, but a face failed a quality gate"),
    ]
    min_tonal_levels: Annotated[
        float,
        Knob("level", "E2.10"),
        Field(
            description="effective luma levels of the face, below: few tonal values",
            ge=0,
            le=256,
        ),
    ]
    max_large_steps: Annotated[
        float,
        Knob("rate", "E2.10"),
        Field(
            description="neighbours over 64 levels apart, above: few tonal values",
            ge=0,
            le=1,
        ),
    ]
    max_roll: Annotated[
        float,
        Knob("degree", "E2.10"),
        Field(description="eye line against the horizontal, beyond: face turned; 180 never", ge=0, le=180),
    ]
    min_recall: Annotated[
        float, Knob("rate", "E2.9"), Field(description="faces of sufficient size found, of every source", ge=0, le=1)
    ]
    max_face_leak: Annotated[
        float, Knob("rate", "E2.9"), Field(description="pictures without a face in which one counts", ge=0, le=1)
    ]
    max_face_leak_bound: Annotated[
        float,
        Knob("rate", "E2.9"),
        Field(description="upper bound of that rate at the contract's confidence", ge=0, le=1),
    ]
