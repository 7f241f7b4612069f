"""From a file to an answer: every way to choose a picture, every trouble, and consent to a review."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gates.support import site as sites


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    assert caught.value.request.headers["x-content-sha256"] == _digest(path)
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
    assert sent == [_digest(picture("animal_raccoon"))] * 3


def test_the_limit_of_the_site_itself_is_waited_for(
    site: Any, picture: Any, bundle: Any, contract: Any, tmp_path: Path
) -> None:
    """A site that takes one picture in two seconds: the second one is refused, waited for, and judged."""
    slow = contract.with_values({"serving.requests_per_minute": 30, "serving.burst": 1})
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
    kept_page: Any, picture: Any, status: int | None, body: str, words: str
) -> None:
    page = kept_page
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
        assert [request.headers["x-content-sha256"] for request in asked] == [_digest(picture("animal_raccoon"))]
        assert "consent=given&statement=page+consent+1" in asked[0].url
        assert ITEM["item"] in page.locator("#review-status").inner_text()
        assert f"after {contract.policy.dataset_governance.review_retention_days} days" in (
            page.locator("#review").inner_text()
        )
