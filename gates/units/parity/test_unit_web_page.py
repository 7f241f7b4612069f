"""Building the page of the browser: what it holds, what it refuses, and how the site serves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.tflite import TFLiteRuntime
from ecdd.web import building
from ecdd.web.building import SiteError, build_site, is_cached, read_site, vendored_files, why_not, with_batch_of_one
from gates.support.command_calls import call

FILES = {
    "litert.js": b'import { createWasmLib } from "@litertjs/wasm-utils";',
    "wasm_utils.js": b"",
    "a.wasm": b"\0asm",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages of the right form but of a few bytes, in a cache, and a list with their digests."""
    import hashlib

    files = {
        f"dist/{name}": {"to": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in FILES.items()
    }
    listed = {"packages": {"@litertjs/core": {"version": "0.0.0", "files": files}}}
    (tmp_path / "vendored.json").write_text(json.dumps(listed), encoding="utf-8")
    monkeypatch.setattr(building, "VENDORED", tmp_path / "vendored.json")
    for name, content in FILES.items():
        place = tmp_path / "npm" / "@litertjs+core-0.0.0" / "dist" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return tmp_path / "npm"


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return load_bundle("tiny")


@pytest.mark.parametrize("name", ["tiny", "lite"])
def test_a_page_is_built_of_every_bundle_that_ships(name: str, cache: Path, tmp_path: Path) -> None:
    bundle = load_bundle(name)
    files = build_site(bundle, tmp_path / "site", cache)
    digest, found = read_site(tmp_path / "site")
    assert digest == bundle.payload_digest
    assert found.keys() == files.keys()
    assert b'"./wasm_utils.js"' in found["vendor/litert.js"]
    config = json.loads(found["config.json"])
    assert config["contract"]["operating_point"]["t_fake"] == bundle.contract.policy.operating_point.t_fake
    assert ("mesh" in config["networks"]) == (bundle.contract.policy.face_detector.second_look != "off")
    # an older build may be written again
    words = ["--bundle", name, "--out", str(tmp_path / "site"), "--cache", str(cache), "--json"]
    told = json.loads(call("web build", words).stdout)
    assert (told["payload_digest"], set(told["files"])) == (digest, set(files))


def test_the_model_of_the_page_gives_the_same_bits(tiny: Bundle) -> None:
    content = tiny.read("model.tflite")
    edited = with_batch_of_one(content)
    assert len(edited) == len(content)
    assert edited != content
    interface = ModelInterface.of(tiny.contract.policy, "tflite")
    batch = np.random.default_rng(7).normal(size=(1, 256, 256, 3)).astype(np.float32)
    one, other = (TFLiteRuntime(file, interface=interface).outputs(batch).maps for file in (content, edited))
    assert np.array_equal(one, other)


def test_what_the_page_cannot_do_is_named(tiny: Bundle, cache: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    turned = replace(tiny, contract=tiny.contract.with_values({"face_detector.crop_alignment": "eye_line"}))
    assert why_not(tiny) == []
    assert "face_detector.crop_alignment" in why_not(turned)[0]
    with pytest.raises(SiteError, match="crop_alignment"):
        build_site(turned, tmp_path / "site", cache)


def test_other_bytes_of_a_package_are_refused(cache: Path) -> None:
    assert is_cached(cache)
    assert vendored_files(cache).keys() == FILES.keys()
    changed = next(cache.rglob("a.wasm"))
    changed.write_bytes(b"\0asm changed")
    with pytest.raises(SiteError, match="sha256"):
        vendored_files(cache)


def test_a_changed_or_foreign_folder_is_no_page(tiny: Bundle, cache: Path, tmp_path: Path) -> None:
    build_site(tiny, tmp_path / "site", cache)
    (tmp_path / "site" / "judge.js").write_text("changed", encoding="utf-8")
    with pytest.raises(SiteError, match=r"judge\.js"):
        read_site(tmp_path / "site")
    with pytest.raises(SiteError, match=r"site\.json"):
        read_site(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SiteError, match="new folder"):
        build_site(tiny, tmp_path / "other", cache)


def test_the_site_offers_a_built_page(tiny: Bundle, cache: Path, tmp_path: Path) -> None:
    from ecdd.serving import openapi
    from ecdd.serving.app import Site
    from ecdd.serving.judging_process import Judge

    build_site(tiny, tmp_path / "site", cache)
    _, files = read_site(tmp_path / "site")
    offered = {route.path.replace(":path", "") for route in Site(Judge(tiny), device=files).routes()}
    assert offered == set(openapi.document(device=True)["paths"])
    assert offered - set(openapi.document()["paths"]) == {"/device/{name}"}
