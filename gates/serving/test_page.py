"""The page in a real browser: keyboard, screen reader, contrast, every way to choose a picture, and every trouble."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecdd.pipeline.orientation import box_to_stored
from gates import site as sites
from gates.browser import browser_path
from gates.g1.answered_stages import file_digest

pytest.importorskip("playwright", reason="not tested here: playwright is not installed; pip install 'ecdd[gates]'")

_BOX = (10.0, 20.0, 40.0, 70.0)
_UPRIGHT = (120, 90)


@pytest.fixture(scope="module")
def site(bundle: Any, contract: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser_path()  # fails or skips where there is none
    with sites.opened(bundle.path, contract, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def page(site: Any) -> Iterator[Any]:
    with sites.open_page(*site, reduced_motion="reduce") as watched:
        yield watched.page


@pytest.fixture(scope="module")
def picture(golden: Any) -> Callable[[str], Path]:
    """Path of a golden picture by id."""
    return lambda key: Path(next(item.path for item in golden.items if item.id == key))


# ---- who cannot see or point ----


def _nameless(page: Any) -> list[str]:
    """Controls of the accessibility tree that say no name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "checkbox", "slider", "tab", "textbox", "link", "progressbar", "image", "heading", "region"}
    return [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in controls
        and not node.get("name", {}).get("value", "").strip()
    ]


def test_every_control_has_a_name(page: Any, picture: Any) -> None:
    assert not _nameless(page)
    for key in ("group_3_one_fake", "animal_raccoon"):
        sites.upload(page, picture(key))
        page.locator("#details details").evaluate("node => { node.open = true; }")
        assert not _nameless(page)


def test_the_verdict_is_announced_and_gets_the_focus(page: Any, picture: Any) -> None:
    sites.upload(page, picture("group_3_one_fake"))
    tree = page.locator("main").aria_snapshot()
    assert "- status: Judged fake. The most suspicious of 3 faces" in tree
    assert '- heading "Judged fake" [level=2]' in tree
    assert 'img "Probability of fake 90.5 %, in the zone fake; real up to 10.9 %, fake from 80.7 %"' in tree
    assert '- tab "Face 1 · decides 90.5 %" [selected]' in tree
    assert page.evaluate("document.activeElement.id") == "verdict-title"


def test_the_page_works_by_keyboard_alone(page: Any, picture: Any) -> None:
    # listened for from the beginning: the browser must know before the key is pressed that a program will choose
    page.on("filechooser", lambda chooser: chooser.set_files(str(picture("group_3_one_fake"))))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.locator("#file-label").evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    with page.expect_response("**/v1/predict*"):
        page.keyboard.press("Enter")
    page.wait_for_selector("#tabs:not([hidden])")
    visited = []
    for _ in range(5):
        page.keyboard.press("Tab")
        visited.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    order = [name for name in visited if name != "consent"]  # only where the site takes reviews
    assert order[:4] == ["download", "tab-0", "opacity", "SUMMARY"]
    page.locator("#tab-0").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-1"
    assert "Face 2 of 3" in page.locator("#face-title").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.id") == "tab-2"
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert page.locator("#map").evaluate("node => getComputedStyle(node).opacity") == "0"
    assert page.locator("#opacity-value").inner_text() == "0 %"


_CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let up = node; up; up = up.parentElement) {
      const colour = parse(getComputedStyle(up).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(":disabled")) continue;
    seen += 1;
    const pair = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) low.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return { seen, low };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(site: Any, picture: Any, scheme: str) -> None:
    """Contrast of at least 4.5; what is disabled is exempt (WCAG 1.4.3)."""
    with sites.open_page(*site, color_scheme=scheme) as watched:
        page = watched.page
        found = [page.evaluate(_CONTRAST)]
        for key in ("group_3_one_fake", "animal_raccoon", "group_2"):
            sites.upload(page, picture(key))
            page.locator("#details details").evaluate("node => { node.open = true; }")
            found.append(page.evaluate(_CONTRAST))
        page.route("**/v1/predict*", lambda route: route.abort())
        page.set_input_files("#file", str(picture("group_2")))
        page.wait_for_selector(".trouble")
        found.append(page.evaluate(_CONTRAST))
    assert min(one["seen"] for one in found) > 8
    assert not [line for one in found for line in one["low"]]


_LISTEN = """() => {
  window.said = [];
  const status = document.querySelector("#status");
  new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
}"""


def test_progress_is_said_in_order(page: Any, picture: Any) -> None:
    page.evaluate(_LISTEN)
    sites.upload(page, picture("animal_raccoon"))
    said = list(dict.fromkeys(page.evaluate("window.said")))
    assert said[0] == "Computing the digest of the file"
    assert said[-2:] == ["Judging", "No verdict. No face was found in the picture."]
    assert all(text.startswith("Sending: ") for text in said[1:-2])


# ---- what is drawn ----


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_follow_the_exif_tag(page: Any, orientation: int) -> None:
    width, height = _UPRIGHT
    stored = (height, width) if orientation > 4 else (width, height)
    x0, y0, x1, y1 = box_to_stored(_BOX, orientation, stored)
    across, down = stored
    script = "([b, s, o]) => import('/static/orientation.js').then((m) => m.boxAsDrawn(b, s, o))"
    drawn = page.evaluate(script, [list(_BOX), {"width": width, "height": height}, orientation])
    wanted = [100 * x0 / across, 100 * y0 / down, 100 * (x1 - x0) / across, 100 * (y1 - y0) / down]
    assert drawn == pytest.approx(wanted)


def test_every_face_of_a_group_is_there(page: Any, picture: Any) -> None:
    sent = sites.upload(page, picture("group_3_one_fake"))
    assert page.locator(".box").count() == page.locator("[role=tab]").count() == len(sent.answer["faces"]) == 3
    decides = sent.answer["deciding_face"]
    assert page.locator(".box").nth(decides).inner_text() == f"{decides + 1} decides"
    page.locator(".box").nth(2).click()
    assert page.locator("#tab-2").get_attribute("aria-selected") == "true"
    shown = page.locator("#face-text").inner_text()
    assert f"{100 * sent.answer['faces'][2]['probability']:.1f} %" in shown


def test_the_scale_shows_the_probability_against_both_limits(page: Any, picture: Any) -> None:
    """No golden picture need be judged real: the site's answer is changed here, and only what is drawn is tested."""
    for label, probability in (("real", 0.04), ("abstain", 0.5), ("fake", 0.97)):
        page.route("**/v1/predict*", partial(_says, label, probability))
        sites.upload(page, picture("real_collins"))
        spot = page.evaluate(
            """() => { const r = (s) => document.querySelector(s).getBoundingClientRect();
            const bar = r("#scale-bar"), mark = r("#marker"), zones = [...document.querySelectorAll(".zone")];
            return [(mark.left + mark.width / 2 - bar.left) / bar.width,
              ...zones.map((z) => z.getBoundingClientRect().width / bar.width)]; }"""
        )
        assert spot[0] == pytest.approx(probability, abs=0.005)
        assert spot[1:] == pytest.approx([0.109366, 0.806779 - 0.109366, 1 - 0.806779], abs=0.005)
        assert f"in the zone {'no verdict' if label == 'abstain' else label}" in (
            page.locator("#scale-bar").get_attribute("aria-label")
        )
        page.unroute("**/v1/predict*")


def _says(label: str, probability: float, route: Any) -> None:
    answer = route.fetch()
    outcome, codes = ("abstained", ["MD-001"]) if label == "abstain" else ("judged", [])
    action = "manual_review" if codes else None
    changed = {"label": label, "outcome": outcome, "probability": probability, "reason_codes": codes}
    changed["abstain_action"] = action
    route.fulfill(response=answer, json={**answer.json(), **changed})


def test_the_record_holds_the_answer_and_no_pixels(page: Any, picture: Any, tmp_path: Path) -> None:
    sent = sites.upload(page, picture("group_3_one_fake"))
    with page.expect_download() as caught:
        page.locator("#download").click()
    caught.value.save_as(tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    faces = [{key: value for key, value in face.items() if key != "crop_png"} for face in sent.answer["faces"]]
    assert record == {**sent.answer, "faces": faces, "client_sha256": sent.announced}
    assert "group_3_one_fake" not in json.dumps(record)


# ---- ways to choose a picture ----

_GIVE = """([kind, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_files_are_sent_untouched(page: Any, picture: Any, kind: str) -> None:
    path = picture("exif_phone_jpeg")
    content = base64.b64encode(path.read_bytes()).decode()
    with page.expect_response("**/v1/predict*") as caught:
        page.evaluate(_GIVE, [kind, "image.png" if kind == "paste" else "a.jpg", content])
    assert caught.value.request.headers["x-content-sha256"] == file_digest(path)
    note = "pasted pixels are saved anew" in page.locator("#preview-caption").inner_text()
    assert note == (kind == "paste")


def test_the_name_of_a_file_stays_in_the_browser(page: Any, picture: Any, tmp_path: Path) -> None:
    named = tmp_path / "private-name.of-somebody.JPG"
    named.write_bytes(picture("animal_raccoon").read_bytes())
    with page.expect_request("**/v1/predict*") as caught:
        page.set_input_files("#file", str(named))
    page.wait_for_selector("#answer:not([hidden])")
    sent = caught.value
    assert sent.url.endswith("name_suffix=.jpg")
    assert "somebody" not in sent.url + json.dumps(sent.all_headers())
    assert sent.post_data_buffer == named.read_bytes()


def test_a_phone_may_take_the_photograph(site: Any) -> None:
    with sites.open_page(*site, **sites.PHONE) as watched:
        assert watched.page.locator("#camera-label").is_visible()
        assert watched.page.locator("#camera").get_attribute("capture") == "environment"
    with sites.open_page(*site) as watched:
        assert not watched.page.locator("#camera-label").is_visible()


# ---- trouble ----


def test_a_busy_site_is_asked_again_when_it_says(page: Any, picture: Any) -> None:
    """429 and 503 with Retry-After: a countdown, then the same bytes once more, without a click."""
    statuses, sent = [429, 503], []

    def busy(route: Any) -> None:
        sent.append(route.request.headers["x-content-sha256"])
        if statuses:
            route.fulfill(status=statuses.pop(0), headers={"Retry-After": "1"}, body="{}")
        else:
            route.continue_()

    page.route("**/v1/predict*", busy)
    page.set_input_files("#file", str(picture("animal_raccoon")))
    page.locator("#status", has_text="Asking again in 1 s.").wait_for()
    page.wait_for_selector("#answer:not([hidden])")
    assert sent == [file_digest(picture("animal_raccoon"))] * 3


def test_the_limit_of_the_site_itself_is_waited_for(
    site: Any, picture: Any, bundle: Any, contract: Any, tmp_path: Path
) -> None:
    """A site that takes one picture in four seconds: the second one is refused, waited for, and judged."""
    slow = contract.with_values({"serving.requests_per_minute": 15, "serving.burst": 1})
    statuses: list[int] = []
    with sites.serve(bundle.path, slow, tmp_path) as address, sites.open_page(site[0], address) as watched:
        page = watched.page
        page.on("response", lambda answer: statuses.append(answer.status) if "/v1/predict" in answer.url else None)
        for _ in range(2):
            page.set_input_files("#file", str(picture("animal_raccoon")))
            page.wait_for_selector("#answer:not([hidden])")
    assert statuses[0] == statuses[-1] == 200
    assert set(statuses[1:-1]) == {429}


def test_waiting_can_be_cancelled(page: Any, picture: Any) -> None:
    page.route("**/v1/predict*", lambda route: route.fulfill(status=429, headers={"Retry-After": "60"}, body=""))
    page.set_input_files("#file", str(picture("animal_raccoon")))
    page.locator("#status", has_text="Asking again in").wait_for()
    page.locator("#cancel").click()
    page.wait_for_selector('#result[aria-busy="false"]')
    assert page.locator("#status").inner_text() == "Cancelled. Nothing was judged."


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (None, "", "The site did not answer"),
        (404, "", "The site does not offer this"),
        (413, '{"title": "Too large", "detail": "40 MB; 33 MB allowed", "what_to_do": "Use less."}', "33 MB allowed"),
        (415, "", "This kind of file is not supported"),
        (422, "<html>", "The file cannot be read"),
        (500, "", "error 500"),
        (503, "", "The site is busy"),
    ],
)
def test_trouble_is_told_in_words_and_can_be_tried_again(
    page: Any, picture: Any, status: int | None, body: str, words: str
) -> None:
    page.route("**/v1/predict*", lambda r: r.abort() if status is None else r.fulfill(status=status, body=body))
    page.set_input_files("#file", str(picture("animal_raccoon")))
    page.wait_for_selector(".trouble")
    assert words in page.locator("#alert").inner_text()
    assert page.locator("#answer").is_hidden()
    page.unroute("**/v1/predict*")
    page.locator(".trouble button").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.locator("#alert").inner_text() == ""


def test_a_file_beyond_the_limit_is_not_sent(page: Any, contract: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as stream:
        stream.truncate(contract.policy.pixel_pipeline.max_bytes + 1)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/v1/predict" in request.url else None)
    page.set_input_files("#file", str(large))
    page.wait_for_selector(".trouble")
    assert "It was not sent." in page.locator("#alert").inner_text()
    assert not sent


def test_without_crypto_the_page_says_that_nothing_was_compared(site: Any, picture: Any) -> None:
    """As over plain http from another host, where browsers offer no ``crypto.subtle``."""
    with sites.open_page(*site) as watched:
        page = watched.page
        page.evaluate("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        sent = sites.upload(page, picture("animal_raccoon"))
        assert sent.announced == ""
        assert not sent.answer["digest_checked"]
        assert page.locator("#digest").get_attribute("data-state") == "unknown"
        assert "Not compared" in page.locator("#digest").inner_text()


# ---- review ----

ITEM = {"item": "0123456789abcdef"}


def _offers(review: bool, route: Any) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "review": review})


@pytest.mark.parametrize("offered", [True, False])
def test_a_picture_is_sent_for_review_only_with_consent(site: Any, picture: Any, contract: Any, offered: bool) -> None:
    """The page alone: hidden where the site takes no reviews, no request without consent. The store has its tests."""
    asked: list[Any] = []
    with sites.open_page(*site) as watched:
        page = watched.page
        page.route("**/v1/bundle", partial(_offers, offered))
        page.route("**/v1/review*", lambda route: (asked.append(route.request), route.fulfill(status=201, json=ITEM)))
        page.reload()
        page.wait_for_selector("html[data-ready]")
        sites.upload(page, picture("animal_raccoon"))
        assert page.locator("#review").is_visible() == page.locator("#unless").is_visible() == offered
        if not offered:
            return
        assert page.locator("#review-send").is_disabled()
        assert not asked
        page.locator("#consent").check()
        page.locator("#review-send").click()
        page.locator("#review-status", has_text="Stored").wait_for()
        assert [request.headers["x-content-sha256"] for request in asked] == [file_digest(picture("animal_raccoon"))]
        assert "consent=given&statement=page+consent+1" in asked[0].url
        assert ITEM["item"] in page.locator("#review-status").inner_text()
        assert f"after {contract.policy.dataset_governance.review_retention_days} days" in (
            page.locator("#review").inner_text()
        )
