"""E5.7 the browser: the same, for a page that judges without sending the picture.

The page decodes with the browser's codecs and computes with another build of the runtime, in another language. Fails
when a stage moves where the stage before did not, when a picture whose S1 is the frozen one is decided otherwise, when
the page asks for anything but its own files, or when a page with a mistake is not told from a right one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ecdd.evidence.pytest_plugin import RUN
from ecdd.parity.device_dump import Dump, DumpedFace
from ecdd.parity.device_reference import Reference, load_reference
from ecdd.parity.device_report import DeviceReport, judge_dump
from ecdd.web.building import LIST, build_site, is_cached, why_not
from gates.support.browser import find_chromium
from gates.support.browser_dumps import dump_in_browser, opened_site
from gates.support.fixtures import Bundle, Evidence, GoldenSet, NotTested

WHAT = "the page in a browser"
HERE = "run make edge, which takes the runtime from npm"
FEW = 3  # faces for the page with a mistake


@dataclass(frozen=True, eq=False)
class Page:
    """What the page made of the golden set, and how it behaved."""

    site: Path
    browser: Path
    dump: Dump
    reference: Reference
    report: DeviceReport
    asked_elsewhere: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def page(
    request: pytest.FixtureRequest, bundle: Bundle, golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory
) -> Page:
    """The golden set, judged once by the page of this bundle in a browser without a network."""
    browser, cache = find_chromium(), request.config.stash[RUN].options.root / "build" / "edge" / "npm"
    if browser is None or not browser.is_file():
        raise NotTested(WHAT, f"no Chromium on the path and ECDD_CHROMIUM names none; then {HERE}")
    if not is_cached(cache):
        raise NotTested(WHAT, f"the runtime is not here; {HERE}")
    if wrong := why_not(bundle):
        raise NotTested(WHAT, f"the page cannot do what the contract asks for: {'; '.join(wrong)}")
    site = tmp_path_factory.mktemp("page") / "site"
    build_site(bundle, site, cache)
    with opened_site(site, browser) as opened:
        dump = dump_in_browser(opened, golden.items)
    reference = load_reference(bundle, golden)
    report = judge_dump(dump, reference)
    return Page(site, browser, dump, reference, report, opened.asked_elsewhere, opened.errors)


@pytest.mark.experiment("E5.7")
def test_the_page_keeps_every_tolerance(evidence: Evidence, page: Page) -> None:
    """S0 and S2 to S7 by the contract; S1, of another decoder, is measured, and decisions are equal where it is."""
    evidence.measure("platform", page.report.platform.name)
    for stage in page.report.stages:
        if stage.stage in ("S1", "S8"):
            continue
        evidence.check(f"browser {stage.stage}", stage.worst, limit=stage.limit.value, unit=stage.limit.unit,
                       worst=stage.worst_name or None, n=stage.n, clause=stage.limit.clause)  # fmt: skip
    frozen, pictures = page.reference.dump.head.pictures, page.dump.head.pictures
    other = [name for name, one in pictures.items() if one.s1 != frozen[name].s1]
    rows = [{"picture": name, "largest_s1_difference": _levels(page, name),
             "decision": pictures[name].s8.label, "frozen": frozen[name].s8.label} for name in other]  # fmt: skip
    evidence.measure("pictures with another S1", len(other), "picture")
    evidence.table("pictures that the browser decodes otherwise", rows or [{"picture": "none"}])
    wrong = [text for text in page.report.other_decisions if text.partition(":")[0] not in other]
    evidence.none("decisions_other_than_frozen_where_s1_is_the_same", wrong, n=len(pictures) - len(other))
    flips = [f"{name} from fake to real" for name in other
             if (frozen[name].s8.label, pictures[name].s8.label) == ("fake", "real")]  # fmt: skip
    evidence.none("fakes_that_the_browser_s_decoder_makes_real", flips, n=len(pictures))
    evidence.none("pictures_missing", page.report.missing, n=len(frozen))
    for text in page.report.other_decisions:
        evidence.measure("decided otherwise", text)
    evidence.not_tested("browsers other than Chromium", "they have other decoders; only Chromium is driven here")


def _levels(page: Page, name: str) -> int:
    """Largest difference of S1; -1 for another shape."""
    decoded, got = page.reference.decoded(name), page.dump.of(name, "S1")
    if decoded is None or got is None or got.shape[:2] != decoded.image.size[::-1]:
        return -1
    return int(np.abs(got.astype(np.int16) - np.asarray(decoded.image, np.int16)).max())


@pytest.mark.experiment("E5.7")
def test_nothing_leaves_the_browser(evidence: Evidence, page: Page) -> None:
    """Every request is answered from the page's own files, and the browser is offline while it judges."""
    evidence.none("requests_elsewhere", page.asked_elsewhere, n=len(page.dump.head.pictures), unit="request")
    evidence.none("errors_of_the_page", page.errors, n=len(page.dump.head.pictures), unit="error")
    taken = [one.milliseconds for one in page.dump.head.pictures.values()]
    spent = [sum(one.values()) for one in taken]
    evidence.measure("time a picture, median", float(np.median(spent)), "ms")
    evidence.measure("time a picture, largest", max(spent), "ms")
    stages = dict.fromkeys(stage for one in taken for stage in one)
    by_stage = {stage: [one[stage] for one in taken if stage in one] for stage in stages}
    rows = [{"stage": stage, "pictures": len(values), "median_ms": round(float(np.median(values)), 1),
             "largest_ms": round(max(values), 1)} for stage, values in by_stage.items()]  # fmt: skip
    evidence.table("time a picture by stage", rows)


@pytest.mark.experiment("E5.7")
def test_a_page_with_a_mistake_is_told(evidence: Evidence, page: Page, golden: GoldenSet, tmp_path: Path) -> None:
    """The same page without antialias in its resize: S3 moves, and the cause is the kernel."""
    site = Path(shutil.copytree(page.site, tmp_path / "site"))
    script = site / "resize.js"
    text = script.read_text(encoding="utf-8")
    wrong = text.replace("stretch = Math.max(scale, 1)", "stretch = 1")
    assert wrong != text
    script.write_text(wrong, encoding="utf-8")
    listed = json.loads((site / LIST).read_text(encoding="utf-8"))
    listed["files"]["resize.js"] = hashlib.sha256(script.read_bytes()).hexdigest()
    (site / LIST).write_text(json.dumps(listed), encoding="utf-8")
    whole = {name for name, one in page.dump.head.pictures.items() if one.faces and one.s8.deciding_face is not None}
    large = sorted(whole, key=lambda name: -max(f.crop_box[2] - f.crop_box[0] for f in _faces(page, name)))[:FEW]
    with opened_site(site, page.browser) as opened:
        dump = dump_in_browser(opened, [golden.item(name) for name in large])
    report = judge_dump(dump, page.reference)
    stages = {one.stage for one in report.stages if one.moved}
    evidence.none("mistakes_not_noticed", [] if stages & {"S2", "S3"} else ["no antialias"], n=1, unit="mistake")


def _faces(page: Page, name: str) -> list[DumpedFace]:
    return page.dump.head.pictures[name].faces
