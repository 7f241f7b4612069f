"""What the page draws of an answer: boxes, faces, the scale, the record."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecdd.bundle import load_bundle
from ecdd.evidence.claims import never_tested_on
from ecdd.pipeline.orientation import box_to_stored
from gates.support import site as sites

_BOX = (10.0, 20.0, 40.0, 70.0)
_UPRIGHT = (120, 90)


@pytest.fixture
def page(kept_page: Any) -> Any:
    """What an answer looks like does not depend on the one that was drawn before it."""
    return kept_page


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
    limits = load_bundle().contract.policy.operating_point
    low, high = limits.t_real, limits.t_fake
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
        assert spot[1:] == pytest.approx([low, high - low, 1 - high], abs=0.005)
        assert f"in the zone {'no verdict' if label == 'abstain' else label}" in (
            page.locator("#scale-bar").get_attribute("aria-label")
        )
        sentence, face = page.inner_text("#verdict-text"), page.inner_text("#face-text")
        for text in (sentence, face, page.inner_text("#status")):
            assert ("fake with a probability of" in text.lower()) == (label != "abstain"), text
        page.unroute("**/v1/predict*")


def test_it_says_what_was_never_tested(page: Any, picture: Any, bundle: Any) -> None:
    sites.upload(page, picture("real_collins"))
    listed = page.locator("#untested li").all_inner_texts()
    assert listed == list(never_tested_on(bundle.path))
    assert page.locator("#untested li").first.is_visible()


def test_one_number_is_no_map_on_the_page(page: Any, picture: Any) -> None:
    page.route("**/v1/predict*", _one_cell)
    sites.upload(page, picture("real_collins"))
    assert "there is no map of it" in page.inner_text("#face")
    assert not page.locator("#map").is_visible()
    page.unroute("**/v1/predict*")


def _one_cell(route: Any) -> None:
    answer = route.fetch()
    content = answer.json()
    content["faces"] = [{**face, "patch_map": [[1.5]]} for face in content["faces"]]
    route.fulfill(response=answer, json=content)


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


def test_a_video_is_called_one_and_a_photo_of_a_phone_too(page: Any, tmp_path: Path) -> None:
    for name, brand, said in (("clip.mp4", b"isom", "a video"), ("IMG_0001.HEIC", b"heic", "HEIF, as phones store")):
        path = tmp_path / name
        path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
        assert sites.upload(page, path).answer["reason_codes"] == ["IO-002"]
        reasons = page.locator("#reasons").inner_text()
        assert said in reasons
        assert "a HEIC photo as JPEG, a frame of a video" in reasons
