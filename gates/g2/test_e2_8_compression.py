"""E2.8 compression: estimated JPEG quality is swept against true quality, also for pictures saved by other encoders;
whether a heavily compressed picture abstains or meets a stricter threshold is frozen in the contract.

Compression removes the traces that the model reads, and only the tables in the file tell how much. Fails when the
estimate is off, when the gate does not abstain below the contract's quality, or when pictures above it are judged
unreliably.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.pipeline.compression import jpeg_quality
from ecdd.pipeline.decode import decode
from gates.support.fixtures import Detector, Evidence, GoldenSet, PolicyContract
from gates.support.made_pictures import asymmetric, encode
from gates.support.portraits import golden_portraits, jpeg, relaxed, sweep_portraits
from gates.support.sweeps import Sample, check_inside_gate, level_rows, rank_correlation, run_sweep

QUALITIES = (10.0, 20.0, 30.0, 40.0, 50.0, 70.0, 90.0)
# The luminance table that ImageMagick, mozjpeg and cameras do not share with the standard: flat and steeper ones.
FLAT = [16] * 64
STEEP = [int(4 + 2.2 * ((index // 8) + (index % 8)) ** 1.25) for index in range(64)]


def _saved(image: Image.Image, quality: float) -> bytes:
    return jpeg(image, int(quality))


@pytest.mark.experiment("E2.8")
def test_standard_tables_are_exact(evidence: Evidence, policy: PolicyContract) -> None:
    wrong = []
    for quality in range(1, 101):
        decoded = decode(encode(asymmetric(), "JPEG", quality=quality), policy.pixel_pipeline)
        found = jpeg_quality(decoded.quantisation_tables)
        if found.value != quality or found.kind != "exact":
            wrong.append(f"quality {quality}: {found.value} {found.kind}")
    evidence.none("qualities_not_exact", wrong, n=100, unit="quality")


@pytest.mark.experiment("E2.8")
def test_opencv_agrees(evidence: Evidence, policy: PolicyContract) -> None:
    """Another encoder, the same standard tables: the estimate must be exact there too."""
    import cv2

    pixels = np.asarray(asymmetric(320, 240))[..., ::-1]
    worst = ("", 0.0)
    for quality in (10, 25, 50, 75, 90, 95):
        ok, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert ok
        value = jpeg_quality(decode(buffer.tobytes(), policy.pixel_pipeline).quantisation_tables).value
        difference = float("nan") if value is None else abs(value - quality)
        worst = max(worst, (f"quality {quality}", difference), key=lambda pair: pair[1])
    evidence.check("max_difference", worst[1], limit=0.5, unit="IJG quality", worst=[worst[0]], n=6)


@pytest.mark.experiment("E2.8")
def test_other_tables_are_estimated_in_order(evidence: Evidence, policy: PolicyContract) -> None:
    """Tables of no known quality: marked as estimated, and coarser tables never read as better."""
    unmarked, disordered = [], []
    for name, table in (("flat", FLAT), ("steep", STEEP)):
        values = []
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0):
            scaled = [min(255, max(1, round(value * factor))) for value in table]
            buffer = io.BytesIO()
            asymmetric().save(buffer, "JPEG", qtables=[scaled, scaled])
            found = jpeg_quality(decode(buffer.getvalue(), policy.pixel_pipeline).quantisation_tables)
            if found.kind != "estimated":
                unmarked.append(f"{name} x {factor}: {found.kind}")
            values.append(found.value if found.value is not None else float("nan"))
        if any(not later < earlier for earlier, later in itertools.pairwise(values)):
            disordered.append(f"{name}: {values}")
    evidence.none("not_marked_as_estimated", unmarked, n=10, unit="table")
    evidence.none("not_in_order", disordered, n=2, unit="table")


@pytest.mark.experiment("E2.8")
def test_lossless_containers_are_unknown(evidence: Evidence, policy: PolicyContract) -> None:
    wrong = []
    for kind in ("PNG", "WEBP"):
        found = jpeg_quality(decode(encode(asymmetric(), kind), policy.pixel_pipeline).quantisation_tables)
        if found.kind != "unknown" or found.value is not None:
            wrong.append(f"{kind}: {found.value} {found.kind}")
    evidence.none("claimed_to_be_known", wrong, n=2, unit="format")


@pytest.mark.experiment("E2.8")
def test_quality_sweep(evidence: Evidence, golden: GoldenSet, detector: Detector, data_root: Path | None) -> None:
    gates = detector.policy.quality_gates

    def inside(sample: Sample, factor: float) -> bool:
        blocky = sample.measures["blockiness"] > gates.max_blockiness
        return sample.measures["jpeg_quality"] >= factor * gates.min_jpeg_quality and not blocky

    for origin, portraits in sweep_portraits(golden, data_root).items():
        samples = run_sweep(portraits, QUALITIES, _saved, relaxed(detector))
        evidence.table(f"jpeg_quality_{origin}", level_rows(samples, QUALITIES, detector.policy))
        check_inside_gate(evidence, samples, inside, detector.policy, is_data=origin == "data")
        blocky = rank_correlation([s.level for s in samples], [s.measures["blockiness"] for s in samples])
        evidence.check(f"{origin}_blockiness_against_quality", blocky, limit=-0.5, unit="rho", n=len(samples))


@pytest.mark.experiment("E2.8")
def test_heavily_compressed_golden_pictures(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    items = [item for item in golden.by_set("edge_cases") if "jpeg_q" in item.id]
    gates = detector.policy.quality_gates
    wrong = []
    for item in items:
        for face in detector.predict(Path(item.path)).faces:
            quality = face.jpeg_quality
            heavy = (quality is not None and quality < gates.min_jpeg_quality) or face.blockiness > gates.max_blockiness
            if heavy != ("GR-005" in face.reason_codes) and "GR-003" not in face.reason_codes:
                wrong.append(item.id)
    evidence.none("gate_off_contract", wrong, n=len(items))


@pytest.mark.experiment("E2.8")
def test_blocks_survive_a_png(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    """Re-encoding hides the tables; the blocks stay, and a heavily compressed face must not be laundered by it."""
    from gates.support.portraits import open_portrait, png

    open_gates = relaxed(detector)
    clean, laundered = [], []
    for portrait in golden_portraits(golden)[:10]:
        image = open_portrait(portrait, detector.policy)
        again = decode(jpeg(image, 8), detector.policy.pixel_pipeline).image
        for values, picture in ((clean, image), (laundered, again)):
            faces = open_gates.predict(png(picture)).faces
            values += [face.blockiness for face in faces[:1]]
    ratio = float(np.median(laundered) / np.median(clean)) if clean and laundered else float("nan")
    evidence.check("blockiness_laundered_over_clean", ratio, limit=1.2, op=">=", unit="ratio", n=len(laundered))
