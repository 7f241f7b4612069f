"""The page by keyboard and screen reader: names, announcements, focus, contrast."""

from __future__ import annotations

from typing import Any

import pytest

from ecdd.bundle import load_bundle
from gates.support import site as sites


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
    answer = sites.upload(page, picture("group_3_one_fake")).answer
    label, shown = answer["label"], f"{100 * answer['probability']:.1f} %"
    limits = load_bundle().contract.policy.operating_point
    zones = f"real up to {100 * limits.t_real:.1f} %, fake from {100 * limits.t_fake:.1f} %"
    tree = page.locator("main").aria_snapshot()
    assert f"- status: Judged {label}. The most suspicious of 3 faces" in tree
    assert f'- heading "Judged {label}" [level=2]' in tree
    assert f'img "Probability of fake {shown}, in the zone {label}; {zones}"' in tree
    assert f'- tab "Face {answer["deciding_face"] + 1} · decides {shown}" [selected]' in tree
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
    for _ in range(6):
        page.keyboard.press("Tab")
        visited.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    order = [name for name in visited if name != "consent"]  # only where the site takes reviews
    deciding = page.locator("#tabs [role=tab][aria-selected=true]").get_attribute("id")
    assert order[:5] == ["SUMMARY", "download", deciding, "opacity", "SUMMARY"]
    first = int(deciding.removeprefix("tab-"))
    page.locator(f"#{deciding}").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == f"tab-{(first + 1) % 3}"
    assert f"Face {(first + 1) % 3 + 1} of 3" in page.locator("#face-title").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.id") == f"tab-{(first - 1) % 3}"
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
