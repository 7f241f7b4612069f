"""The page's files, read without a browser: every code has its sentence, and nothing is inline or from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import ecdd
from ecdd.contract.model_sections import OperatingPoint
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.serving.static_files import load_files

STATIC = Path(ecdd.__file__).parent / "serving" / "static"


def _table(name: str) -> str:
    text = (STATIC / "reasons.js").read_text(encoding="utf-8")
    return text.partition(f"export const {name} = {{\n")[2].partition("\n};")[0]


def test_every_reason_code_has_a_sentence_and_what_to_do(contract: Any) -> None:
    script = load_files()["reason_codes.js"].content.decode()
    table = json.loads(script.removeprefix("export const REASONS = ").removesuffix(";\n"))
    assert set(table) == set(contract.policy.reason_codes.codes.values()) == {code.value for code in ReasonCode}
    assert all(len(text) >= 10 for texts in table.values() for text in texts)
    assert len({what for what, _ in table.values()}) == len(table) == len({code.meaning for code in ReasonCode})


def test_every_action_on_abstaining_has_a_sentence() -> None:
    told = re.findall(r'^  (\w+): "[^"]{10,}",$', _table("ACTIONS"), re.MULTILINE)
    assert set(told) == set(get_args(OperatingPoint.model_fields["abstain_action"].annotation))


class _Page(HTMLParser):
    """What a content security policy without inline code forbids, and where the page points."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.names: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            self.inline += [name] if name == "style" or name.startswith("on") else []
            self.addresses += [value or ""] if name in ("src", "href", "action") else []
            self.ids += [value or ""] if name == "id" else []
            self.names += (value or "").split() if name in ("for", "aria-labelledby") else []

    def handle_endtag(self, _tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.inline += [data] if self._open in ("script", "style") and data.strip() else []


def test_the_page_is_self_contained() -> None:
    page = _Page()
    page.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    assert not page.inline
    own = (
        "/static/",
        "data:,",
        "#",
        "/device/",
    )  # the last where the site was given the page that `ecdd web build` makes
    assert all(address.startswith(own) for address in page.addresses), page.addresses
    assert all((STATIC / a.rpartition("/")[2]).is_file() for a in page.addresses if a.startswith("/static/"))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.names) <= set(page.ids)
    for file in sorted(STATIC.iterdir()):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://", text), f"{file.name} names another host"
        assert "innerHTML" not in text, f"{file.name} turns text into markup"
