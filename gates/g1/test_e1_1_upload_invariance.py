"""E1.1 upload invariance: a file sent by a real browser through the local site arrives byte-identical (SHA-256 on
both sides, twice), and is judged like the same file on disk.

A proxy, a page or a server that re-encodes, strips metadata or cuts a file gives the model other pixels than those
that were evaluated. Fails when a digest differs between client and server, when a stage of an uploaded golden picture
differs from that of the same file on disk, or when changed bytes are accepted.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecdd.serving.judging_process import answer
from gates.support import site as sites
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenSet, LoadedContract, NotTested
from gates.support.site_limits import SMALL, limits_not_held, small_site

Site = tuple[Any, str]
_WIDTH = {"desktop": 800, "phone": 390}
_LIGHT_ON = {"real": "desktop", "fake": "phone", "group": "desktop", "animal": "phone", "broken": "desktop"}


@pytest.fixture(scope="module")
def running(bundle: Bundle, contract: LoadedContract, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if missing := sites.why_not():
        if sites.in_ci():
            pytest.fail(f"E1.1 must run here: {missing}")
        raise NotTested("upload through a real browser", missing)
    with sites.opened(bundle.path, contract, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(running: Site, evidence: Evidence) -> Site:
    """Browser and address of the running site."""
    evidence.measure("browser", f"Chromium {running[0].version}")
    evidence.measure("contract", f"the run's, but {', '.join(f'{k}: {v}' for k, v in sites.MANY.items())}")
    return running


def _on_disk(detector: Detector, path: Path) -> dict[str, Any]:
    """What the site must answer: the same file, judged in this process."""
    judged = json.loads(json.dumps(answer(detector, path.read_bytes(), path.suffix, full=True)))
    faces = zip(judged["verdict"]["faces"], judged["details"]["faces"], strict=True)
    return {**judged["verdict"], **judged["details"], "faces": [{**face, **extra} for face, extra in faces]}


def _without_times(told: dict[str, Any]) -> dict[str, Any]:
    """An answer without what may differ between two runs."""
    return {key: value for key, value in told.items() if key not in {"milliseconds", "file"}}


def _stages(told: dict[str, Any]) -> dict[tuple[str, int | None], Any]:
    """Stages by name and face; the crop that is shown belongs to S3, the map to S5."""
    rows = {(row["stage"], row["face"]): row for row in told["stages"]}
    for index, face in enumerate(told["faces"]):
        rows |= {("S3, shown", index): face["crop_png"], ("S5, shown", index): face["patch_map"]}
    return rows


def _differing(told: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of the stages in which two answers differ."""
    one, two = _stages(told), _stages(wanted)
    return sorted({place[0] for place in one.keys() | two.keys() if one.get(place) != two.get(place)})


@pytest.mark.experiment("E1.1")
def test_every_golden_file_twice(evidence: Evidence, site: Site, golden: GoldenSet, detector: Detector) -> None:
    """S0 is taken of the file, in the browser, on arrival and by the pipeline; S1 to S8 are those of the file."""
    s0, early, late, unlike, unseen, refused = [], [], [], [], [], 0
    started = time.monotonic()
    with sites.open_page(*site) as watched:
        for item in golden.items:
            path = Path(item.path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            pair = [sites.upload(watched.page, path) for _ in range(2)]
            refused += sum(bool(sent.answer.get("outcome") == "rejected") for sent in pair)
            for sent in pair:
                received = {sent.answer.get("received_sha256"), sent.answer.get("file_sha256") or digest}
                if digest != item.sha256 or sent.announced != digest or received != {digest}:
                    s0.append(item.id)
                elif not (sent.shown and sent.answer["digest_checked"]):
                    unseen.append(item.id)
            if not all("stages" in sent.answer for sent in pair):
                early.append(f"{item.id} without stages")
                continue
            differing = _differing(pair[0].answer, _on_disk(detector, path))
            early += [f"{item.id} {stage}" for stage in differing if stage < "S5"]
            late += [f"{item.id} {stage}" for stage in differing if stage >= "S5"]
            unlike += [item.id] if _without_times(pair[0].answer) != _without_times(pair[1].answer) else []
    uploads = 2 * len(golden.items)
    evidence.none("s0_differs", s0, n=uploads, unit="upload")
    evidence.none("digest_not_checked_or_not_shown", unseen, n=uploads, unit="upload")
    evidence.none("s1_to_s4_differ", early, n=len(golden.items), unit="stage")
    evidence.none("s5_to_s8_differ", late, n=len(golden.items), unit="stage")
    evidence.none("second_upload_differs", unlike, n=len(golden.items))
    # a browser writes every answer of 400 and above to its console, also that to a golden file that is to be refused
    told = [text for text in watched.errors if "responded with a status of 4" in text]
    others = [text for text in watched.errors if text not in told]
    evidence.none("console_errors", told[refused:] + others, n=uploads, unit="error")
    evidence.none("requests_to_other_hosts", watched.foreign, n=uploads, unit="request")
    evidence.measure("time_per_upload", (time.monotonic() - started) / uploads, unit="s")


@pytest.mark.experiment("E1.1")
def test_bytes_changed_on_the_way_are_refused(evidence: Evidence, site: Site, golden: GoldenSet) -> None:
    """One byte more than was announced: no verdict, and the page says so; also where the site names other bytes."""
    items = {Path(item.path).suffix: item for item in golden.items}
    accepted, silent, believed = [], [], []
    with sites.open_page(*site) as watched:
        page = watched.page
        for item in items.values():
            page.route("**/v1/predict*", partial(_adds_a_byte, Path(item.path).read_bytes()))
            sent = sites.upload(page, Path(item.path))
            accepted += [item.id] if sent.status < 400 else []
            silent += [] if "changed on the way" in page.locator("#alert").inner_text() else [item.id]
            page.unroute("**/v1/predict*")
            page.route("**/v1/predict*", _names_other_bytes)
            sites.upload(page, Path(item.path))
            loud = page.locator("#digest").get_attribute("data-state") == "differs"
            believed += [] if loud and "changed on the way" in page.locator("#alert").inner_text() else [item.id]
            page.unroute("**/v1/predict*")
    evidence.none("changed_bytes_accepted", accepted, n=len(items), unit="upload")
    evidence.none("refusals_not_shown", silent, n=len(items), unit="upload")
    evidence.none("other_digests_believed", believed, n=len(items), unit="upload")


def _adds_a_byte(content: bytes, route: Any) -> None:
    route.continue_(post_data=content + b"\0")


def _names_other_bytes(route: Any) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "received_sha256": "0" * 64})


@pytest.mark.experiment("E1.1")
def test_the_page_shows_every_kind_of_verdict(
    evidence: Evidence, site: Site, golden: GoldenSet, detector: Detector, tmp_path: Path
) -> None:
    """A real, a fake, a group, an animal and a broken file; desktop and phone, light and dark."""
    pictures = _kinds(golden, detector, tmp_path)
    wide, wrong, errors = [], [], []
    for device, options in (("desktop", sites.DESKTOP), ("phone", sites.PHONE)):
        for scheme in ("light", "dark"):
            with sites.open_page(*site, color_scheme=scheme, reduced_motion="reduce", **options) as watched:
                for kind, path in pictures.items():
                    name = f"{kind}, {device}, {scheme}"
                    sent = sites.upload(watched.page, path)
                    wrong += [] if _says(watched.page, sent.answer) else [name]
                    inside = watched.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                    wide += [] if inside else [name]
                    if (device == _LIGHT_ON[kind]) == (scheme == "light"):  # all are looked at, half are kept
                        evidence.figure(f"page-{kind}-{device}", _small(watched.page, device), f"The page: {name}")
                refused = [text for text in watched.errors if "status of 422" in text]  # the broken file's answer
                errors += [text for text in watched.errors if text not in refused] + watched.foreign
                errors += [] if len(refused) == 1 else [f"{len(refused)} refused files, {device}, {scheme}"]
    n = 4 * len(pictures)
    evidence.none("verdicts_not_announced", wrong, n=n, unit="page")
    evidence.none("pages_wider_than_the_screen", wide, n=n, unit="page")
    evidence.none("console_errors", errors, n=n, unit="error")


@pytest.mark.experiment("E1.1")
def test_the_limits_of_the_site_hold(
    evidence: Evidence, site: Site, golden: GoldenSet, bundle: Bundle, contract: LoadedContract, tmp_path: Path
) -> None:
    """Rate, queue, connections, time and a graceful end, on a site whose contract has small limits."""
    contract.with_values(SMALL).dump(tmp_path / "contract.yaml")
    picture = next(Path(i.path) for i in golden.items if i.expected.label == "real").read_bytes()
    start = partial(small_site, tmp_path / "contract.yaml", bundle.path)
    evidence.none("limits_not_held", limits_not_held(start, picture), n=len(SMALL), unit="limit")


def _kinds(golden: GoldenSet, detector: Detector, folder: Path) -> dict[str, Path]:
    """One picture of each kind; a real and a fake that are judged so, where the bundle judges one."""
    faces = {label: [i for i in golden.items if i.expected.label == label] for label in ("real", "fake")}
    found = {}
    for label, items in faces.items():
        judged = (item for item in items if detector.predict(Path(item.path)).label == label)
        found[label] = Path(next(judged, items[0]).path)
    group = next(item for item in golden.items if item.category == "group")
    animal = next(item for item in golden.items if item.category == "animal")
    broken = folder / "broken.jpg"
    whole = next(Path(item.path) for item in golden.items if item.path.endswith(".jpg")).read_bytes()
    broken.write_bytes(whole[: len(whole) // 3])
    return found | {"group": Path(group.path), "animal": Path(animal.path), "broken": broken}


def _says(page: Any, answer: dict[str, Any]) -> bool:
    """Whether the verdict is announced, drawn as a heading, and has the focus; every reason has its sentence."""
    words = {"real": "Judged real", "fake": "Judged fake", "abstain": "No verdict"}
    title = "Not judged" if answer["outcome"] in ("rejected", "error") else words[answer["label"]]
    announced, heading = page.locator("#status").text_content(), page.locator("#verdict-title").inner_text()
    focused = page.evaluate("document.activeElement.id") == "verdict-title"
    reasons = page.locator("#reasons").inner_text() if answer["reason_codes"] else ""
    return (
        announced.startswith(title)
        and heading.startswith(title)
        and focused
        and all(code in reasons for code in answer["reason_codes"])
    )


def _small(page: Any, device: str) -> bytes:
    """A screenshot of the whole page, small enough for a report."""
    from PIL import Image

    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as shot:
        width = min(shot.width, _WIDTH[device])
        resized = shot.convert("RGB").resize((width, round(shot.height * width / shot.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # ten times as fast as the default, median cut, and no larger
    few = resized.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
