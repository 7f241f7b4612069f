"""The report as a page: what it says, and that a browser shows it without a network."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from ecdd.bundle.loading import default_bundle_path, load_bundle
from ecdd.evidence.claims import NEVER_CLAIMED, compare_claims
from ecdd.evidence.collecting import Evidence
from ecdd.evidence.declarations import load_declared, load_expected
from ecdd.evidence.gate_names import GATE_NAMES
from ecdd.evidence.head import read_head
from ecdd.evidence.merging import read_records, write_records
from ecdd.evidence.mutation_table import MUTANTS_FILE, MutantRow, MutationTable, write_mutants
from ecdd.evidence.records import Absent, ExperimentRecord, Figure, Table
from ecdd.evidence.report import render, verdict_of, write_report
from ecdd.evidence.session import RunOptions, identify
from gates.support.browser import browser_path, open_browser
from gates.support.command_calls import call
from gates.support.made_evidence import reidentify
from gates.support.made_pictures import encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[3]
DECLARED = load_declared(ROOT / "gates" / "declared.yaml")
EXPECTED = load_expected(ROOT / "gates" / "expected_verdicts.yaml", DECLARED)
MANY = 1000
FEW = 8  # golden pictures that a thousand records name
HOSTILE = "</code></script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"' onload='x"


def options_of(folder: Path, **changes: Any) -> RunOptions:
    plain = RunOptions(ROOT, None, None, ROOT / "golden", None, folder, None, datetime.date(2026, 11, 27))
    return dataclasses.replace(plain, **changes)


def rendered(folder: Path, **changes: Any) -> str:
    return render(options_of(folder, **changes), DECLARED, EXPECTED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a real run of a green and a red experiment, with figures and golden worst samples."""
    folder = tmp_path_factory.mktemp("run")
    tests = ["gates/g1/test_e1_9_normalisation.py", "gates/g6/test_e6_1_source_splits.py"]
    command = [sys.executable, "-m", "pytest", *tests, "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["--report-dir", str(folder), "--junitxml", str(folder / "junit.xml")]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    return folder


@pytest.fixture(scope="module")
def page_file(run: Path) -> Path:
    """Page of that run, written once for all tests that only read it."""
    return write_report(options_of(run), DECLARED, EXPECTED)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser(browser_path()) as opened:
        yield opened


def opened(browser: Browser, page_file: Path, width: int = 1280, scheme: Any = "light") -> tuple[Page, list[str]]:
    """Load a page; the second part is all that it said on the console and asked of anybody."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(page_file.as_uri())
    return page, [text for text in said if text != page_file.as_uri() and not text.startswith("data:")]


def open_folds(page: Page) -> None:
    """Open every gate, as a reader does with a click."""
    page.evaluate("document.querySelectorAll('details.gate').forEach((gate) => { gate.open = true; })")


def change(folder: Path, key: str, **fields: Any) -> ExperimentRecord:
    """Store a record again with other fields, as a run would have written it."""
    record = read_records(folder)[key].model_copy(update=fields)
    write_records(folder, {key: record})
    return record


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark")])
def test_a_browser_shows_it_alone(page_file: Path, browser: Browser, width: int, scheme: str) -> None:
    page, said = opened(browser, page_file, width, scheme)
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    count = """(keys) => keys.filter((key) => document.querySelectorAll(`[id="o-${key}"]`).length !== 1)"""
    assert page.evaluate(count, list(DECLARED)) == []
    first = page.locator(".verdict").bounding_box()
    assert first is not None
    assert first["y"] < 200, "the verdict comes first"
    assert page.locator("script").count() == 0
    page.context.close()


def test_a_telephone_does_not_scroll_for_ever(page_file: Path, browser: Browser) -> None:
    page, _ = opened(browser, page_file, 390)
    folded = page.evaluate("document.documentElement.scrollHeight")
    assert folded < 8000
    open_folds(page)
    assert page.evaluate("document.documentElement.scrollHeight") > folded
    page.context.close()


def test_many_red_gates_are_folded_too(page_file: Path, browser: Browser, tmp_path: Path) -> None:
    """Each red stands above, with its numbers; one or two red gates are read at once."""
    default = Path(shutil.copytree(ROOT / "reports" / "default", tmp_path / "default"))
    for file in (page_file, write_report(options_of(default), DECLARED, EXPECTED)):
        page, _ = opened(browser, file, 390)
        red = page.locator("details.gate.fail").count()
        assert red
        assert page.locator("details.gate[open]").count() == (red if red <= 2 else 0)
        assert page.evaluate("document.documentElement.scrollHeight") < 8000
        page.context.close()


def test_it_is_named_and_has_contents(run: Path, page_file: Path, browser: Browser) -> None:
    page, _ = opened(browser, page_file)
    bundle = load_bundle(default_bundle_path()).manifest
    assert page.inner_text("h1") == f"{bundle.name} {bundle.version}"
    assert read_head(run)[0].runs[-1].ended.partition("T")[0] in page.inner_text("body").splitlines()[0]
    first, verdict = page.inner_text(".verdict").partition("ecdd release")[0], page.locator(".verdict")
    assert "Never tested on:" in first
    assert verdict.count() == 1
    contents = page.inner_text("nav")
    for name in GATE_NAMES.values():
        assert name in contents
        assert page.locator("details.gate > summary", has_text=name).count() == 1
    page.click("nav >> text=G4 calibration and thresholds")
    assert page.locator("details.gate", has_text="G4 calibration").first.get_attribute("id") in page.url
    page.context.close()


def test_one_reason_is_told_once(copy: Path) -> None:
    twice = (Absent(what="faces of every framing", why="second_look is off"),) * 4
    change(copy, "E1.9", not_tested=twice)
    listed = rendered(copy).partition('id="not-tested"')[2].partition('id="defects"')[0]
    assert listed.count("faces of every framing") == 1


def test_columns_stand_as_they_were_measured(copy: Path) -> None:
    rows: tuple[dict[str, Any], ...] = ({"source": "a", "n": 3, "auc": 0.5}, {"source": "b", "auc": 0.25, "why": "few"})
    collector = Evidence("E1.9", "test_a", copy)
    collector.table("by source", rows)
    change(copy, "E1.9", tables=tuple(collector.tables))
    shown = rendered(copy).partition("by source")[2].partition("</table>")[0]
    assert re.findall("<th>(.*?)</th>", shown) == ["source", "n", "auc", "why"]
    assert re.findall("<td>(.*?)</td>", shown) == ["a", "3", "0.5", "", "b", "", "0.25", "few"]


def test_a_table_of_before_has_words_before_numbers() -> None:
    old = Table.model_validate_json('{"name": "t", "test": "test_a", "rows": [{"auc": 0.5, "n": 3, "source": "a"}]}')
    assert old.shown_columns == ("source", "auc", "n")
    assert "columns" not in old.model_dump()


def test_it_says_what_the_run_found(run: Path, page_file: Path, browser: Browser) -> None:
    page, _ = opened(browser, page_file)
    top = page.inner_text("body").partition("A gate opens")[0]
    assert "No release can rest on this run" in top
    assert re.search(r"Supported:\s*E1\.9\.", top)
    assert all(text in top for text in NEVER_CLAIMED)
    for said in ("device split", "source fnr increase = 0.11", "must be ≤ 0.1"):
        assert said in top, said
    assert "E6.1 source splits expected" in " ".join(top.split())
    row = page.locator('[id="o-E6.1"]')
    assert re.search(r"\u221212(\.\d)? %", row.inner_text())
    provenance = page.inner_text("body").partition("Provenance")[2]
    assert "vector instructions" in provenance
    assert read_records(run)["E1.9"].identity.golden_digest in provenance
    page.context.close()


def test_worst_samples_have_thumbnail_and_heatmap(page_file: Path, browser: Browser) -> None:
    page, _ = opened(browser, page_file)
    open_folds(page)
    row = page.locator('[id="o-E1.9"]')
    assert row.locator("svg use").count() == 2
    assert "of real_" in " ".join(filter(None, [svg.get_attribute("aria-label") for svg in row.locator("svg").all()]))
    boxes = [svg.bounding_box() for svg in row.locator("svg").all()]
    assert all(box is not None and min(box["width"], box["height"]) > 30 for box in boxes)
    page.context.close()


def test_every_link_and_picture_is_there_and_held_once(run: Path) -> None:
    text = rendered(run)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    uris = re.findall(r'href="(data:image[^"]+)"', text)
    assert len(uris) == len(set(uris)) == 3, "a figure, a thumbnail and a heatmap"
    files = [link for link in re.findall(r'href="([^"#]+)"', text) if not link.startswith("data:")]
    assert {"evidence.jsonl", "junit.xml", "index.json"} <= set(files)
    for link in files:
        assert (run / link).is_file(), link


def test_it_prints_with_everything_open(page_file: Path, browser: Browser) -> None:
    page, _ = opened(browser, page_file, scheme="dark")
    closed = page.locator("details.experiment:not([open]) > div").first
    page.emulate_media(media="print")
    box = closed.bounding_box()
    assert box is not None
    assert box["height"] > 100, "closed on the screen, open on paper"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.context.close()


def test_the_latest_page_links_into_its_run(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "reports" / "runs" / "abc"))
    page = write_report(options_of(folder, root=tmp_path), DECLARED, EXPECTED)
    assert page == tmp_path / "reports" / "index.html"
    assert 'href="runs/abc/evidence.jsonl"' in page.read_text(encoding="utf-8")


def test_names_are_no_markup(copy: Path, browser: Browser) -> None:
    record = read_records(copy)["E1.9"]
    metrics = tuple(
        m.model_copy(update={"name": HOSTILE, "worst": (HOSTILE,), "unit": HOSTILE}) for m in record.metrics
    )
    tables = (Table(name=HOSTILE, test="test_a", rows=({HOSTILE: HOSTILE},)),)
    change(copy, "E1.9", title=HOSTILE, metrics=metrics, tables=tables, failures=(HOSTILE,))
    page, said = opened(browser, write_report(options_of(copy), DECLARED, EXPECTED))
    assert said == []
    assert page.title().endswith("ECDD evidence")
    open_folds(page)
    assert page.locator("script, img, [onload], [onerror]").count() == 0
    assert page.inner_text('[id="o-E1.9"]').count("onerror=alert(1)") >= 2
    page.context.close()


def _table(payload: str, contract: str, *, killed: bool = True, gate: str | None = None) -> MutationTable:
    row = MutantRow(
        name="bgr", gate="G1", experiment="E1.5", metric="max_difference", killed=killed, reason="r", record="",
        seconds=1,
    )  # fmt: skip
    control = row.model_copy(update={"name": "gates/g1/test_a.py", "metric": "control", "killed": True})
    return MutationTable(
        payload_digest=payload, contract_digest=contract, gate=gate, seconds=2, mutants=(row,), controls=(control,)
    )


def test_mutants_of_this_bundle_are_shown(copy: Path) -> None:
    now = identify(options_of(copy))
    write_mutants(copy / MUTANTS_FILE, _table(now.payload_digest, now.contract_digest))
    assert "1 of 1 killed, 1 of 1 controls" in rendered(copy)
    write_mutants(copy / MUTANTS_FILE, _table(now.payload_digest, now.contract_digest, killed=False, gate="G1"))
    text = rendered(copy)
    assert "SURVIVED" in text
    assert "0 of 1 killed (gate G1 alone was asked for)" in text


def test_mutants_of_anything_else_are_not(copy: Path) -> None:
    now = identify(options_of(copy))
    others = {
        "of payload 0000": _table("0" * 64, now.contract_digest).model_dump_json(),
        "of contract 0000": _table(now.payload_digest, "0" * 64).model_dump_json(),
        "cannot be used": '{"mutants": []}',
        "cannot be used (1 wrong": "{not json",
        "no mutants.json": None,
    }
    for said, content in others.items():
        (copy / MUTANTS_FILE).unlink(missing_ok=True)
        if content is not None:
            (copy / MUTANTS_FILE).write_text(content, encoding="utf-8")
        text = rendered(copy)
        assert "not run for this bundle" in text, said
        assert said in text
        assert "killed" not in text.partition('id="defects"')[2].partition('id="provenance"')[0]


def test_a_record_of_another_bundle_supports_nothing(copy: Path) -> None:
    identity = read_records(copy)["E1.9"].identity
    change(copy, "E1.9", identity=identity.model_copy(update={"payload_digest": "0" * 64}))
    text = rendered(copy)
    assert "ANOTHER BUNDLE" in text
    assert re.search(r"Supported:</b> nothing", text)
    assert "come from 2 runs" in text


def test_edited_evidence_is_said_first(copy: Path) -> None:
    path = copy / "phase6_results" / "E6.1.json"
    path.write_text(path.read_text().replace('"verdict": "fail"', '"verdict": "pass"'))
    text = rendered(copy)
    assert "Evidence not intact" in text
    assert "E6.1: the record is not the one in index.json" in text


def test_a_decoder_without_evidence_is_said_first(copy: Path) -> None:
    versions = read_records(copy)["E1.9"].identity.versions
    reidentify(copy, versions={**versions, "libjpeg_turbo": "2.1.5"})
    page_one = rendered(copy).partition('id="gates"')[0]
    assert "no evidence covers (libjpeg_turbo 2.1.5, frozen with 3.2.0): E1.9, E6.1; run the gates" in page_one
    assert "Evidence not intact" not in page_one


def test_no_release_rests_on_another_decoder(copy: Path) -> None:
    record = read_records(copy)["E1.9"]
    contract = load_bundle(default_bundle_path()).contract
    claims = contract.policy.release.model_copy(update={"claims": ["E1.9"]})
    contract = dataclasses.replace(contract, policy=contract.policy.model_copy(update={"release": claims}))
    assert verdict_of({"E1.9": record}, compare_claims(contract, {"E1.9": record}, DECLARED), [])[0] == "pass"
    other = record.model_copy(update={"identity": record.identity.model_copy(update={"versions": {}})})
    state, text = verdict_of({"E1.9": other}, compare_claims(contract, {"E1.9": other}, DECLARED), [])
    assert (state, "a decoder that no evidence covers" in text) == ("fail", True)


def test_a_figure_that_the_run_did_not_draw_is_not_shown(copy: Path) -> None:
    figure = read_records(copy)["E6.1"].figures[0]
    other = (ROOT / "reports" / "default" / "figures" / "E4.5-histograms.png").read_bytes()
    (copy / figure.file).write_bytes(other)
    text = rendered(copy)
    assert "the file is not the one that the run drew" in text
    assert hashlib.sha256(other).hexdigest()[:16] not in text


def test_only_golden_pictures_get_a_thumbnail(copy: Path) -> None:
    record = read_records(copy)["E1.9"]
    for name, shown in (("real_collins face 0", True), ("real/congress/real_collins.jpg", False), ("", False)):
        change(copy, "E1.9", metrics=tuple(m.model_copy(update={"worst": (name,)}) for m in record.metrics))
        assert ("image/webp" in rendered(copy)) == shown, name
    identity = record.identity.model_copy(update={"golden_digest": "0" * 64})
    change(copy, "E1.9", metrics=record.metrics, identity=identity)
    assert "image/webp" not in rendered(copy), "another golden set may call another picture by that name"


def test_a_face_that_was_not_judged_has_a_reason(copy: Path) -> None:
    record = read_records(copy)["E1.9"]
    change(copy, "E1.9", metrics=tuple(m.model_copy(update={"worst": ("blur_radius_8",)}) for m in record.metrics))
    assert "no such face reached the model (GR-004)" in rendered(copy)


def test_a_thousand_records(run: Path, tmp_path: Path, browser: Browser) -> None:
    """Of the models of real records, each with a figure of its own and a golden worst sample."""
    real = read_records(run)["E1.9"]
    ids = sorted(path.stem for path in (ROOT / "golden" / "in_scope").iterdir())[:FEW]
    drawn = encode(Image.linear_gradient("L"), "PNG")
    records = {}
    for number in range(MANY):
        key, content = f"E{1 + number % 8}.{1 + number // 8}", drawn + str(number).encode()
        file = f"figures/{key}.png"
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
        figure = Figure(name="f", test="test_a", file=file, caption=key, sha256=hashlib.sha256(content).hexdigest())
        worst = (f"{ids[number % len(ids)]} face 0",)
        metrics = (real.metrics[number % len(real.metrics)].model_copy(update={"worst": worst}),)
        fields = {"id": key, "title": f"experiment {key}", "gate": f"G{key[1]}", "metrics": metrics}
        records[key] = real.model_copy(update=fields | {"figures": (figure,)})
    write_records(tmp_path, records)
    path = write_report(options_of(tmp_path), {}, {})
    text = path.read_text(encoding="utf-8")
    webp = len(re.findall(r'href="data:image/webp', text))
    assert len(ids) <= webp <= 2 * len(ids), "a thumbnail and a heatmap for each golden picture, not for each record"
    assert len(text) < MANY * (len(drawn) * 4 / 3 + 4000)
    page, said = opened(browser, path, 390)
    assert said == []
    assert page.locator("tr.row").count() == len(records)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    last = f"E8.{MANY // 8}"
    page.goto(f"{path.as_uri()}#{last}")
    assert page.locator(f'[id="{last}"]').is_visible(), "a link opens the experiment that it leads to"
    page.context.close()


def test_a_broken_record_is_named(copy: Path) -> None:
    (copy / "phase1_results" / "E1.9.json").write_text(json.dumps({"id": "E1.9"}))
    result = call("report", [str(copy)])
    assert result.exit_code == 2
    assert "E1.9.json: not a record" in result.stderr
    assert "Traceback" not in result.stderr
