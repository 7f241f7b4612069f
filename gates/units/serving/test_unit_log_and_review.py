"""What the site keeps: events that hold nothing of a picture, and pictures that a person agreed to have reviewed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.manual_review import ReviewStore
from ecdd.dataset_governance.review_sealing import ReviewKey
from ecdd.monitoring.logger import EventLog
from ecdd.serving import openapi
from ecdd.serving.app import Site
from ecdd.serving.judging_process import Judge
from gates.support.site_process import SiteProcess, wait_until


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def keeping_site(kept: Path, request: pytest.FixtureRequest) -> Iterator[SiteProcess]:
    ReviewKey.make(kept / "key")
    bundle = request.config.getoption("--bundle")
    chosen = () if bundle is None else ("--bundle", str(bundle))
    options = ("--log", str(kept / "log.db"), "--review", str(kept / "store"), "--review-key", str(kept / "key"))
    running = SiteProcess(*chosen, "--jobs", "1", *options)
    yield running
    running.stop()


def test_every_picture_is_an_event(keeping_site: SiteProcess, kept: Path, portrait: bytes) -> None:
    for body in (portrait, b"no picture", portrait):
        keeping_site.predict(body)
    with EventLog(str(kept / "log.db")) as log:
        wait_until(lambda: log.count() == 3, "three events")
    assert keeping_site.metric("ecdd_log_failures_total") == 0


def review(site: SiteProcess, body: bytes, query: str = "?consent=given") -> tuple[int, dict[str, object]]:
    headers = {"Content-Type": "application/octet-stream"}
    answer = site.request("POST", f"/v1/review{query}", body, headers)
    return answer.status, answer.json


def test_nothing_is_stored_without_consent(keeping_site: SiteProcess, kept: Path, portrait: bytes) -> None:
    for query in ("", "?consent=", "?consent=no"):
        status, problem = review(keeping_site, portrait, query)
        assert (status, problem["code"]) == (400, "no_consent")
    for query in ("?consent=no&consent=given", "?consent=given&consent=given", "?consent=given&cons%65nt=no"):
        status, problem = review(keeping_site, portrait, query)
        assert (status, problem["code"]) == (400, "bad_query"), query
    assert not (kept / "store").exists()


def test_a_consented_picture_is_sealed_and_opened_again(
    keeping_site: SiteProcess, kept: Path, portrait: bytes, contract: LoadedContract
) -> None:
    assert keeping_site.get("/v1/bundle").json["review"] is True
    status, stored = review(keeping_site, portrait)
    assert (status, stored["retention_days"]) == (201, contract.policy.dataset_governance.review_retention_days)
    files = [path for path in (kept / "store").rglob("*") if path.is_file()]
    assert files
    assert not any(portrait[:64] in path.read_bytes() for path in files)
    store = ReviewStore.open(kept / "store", ReviewKey.read(kept / "key"), contract)
    assert store.picture(str(stored["item"])) == portrait
    status, problem = review(keeping_site, portrait)
    assert (status, problem["code"]) == (409, "already_stored")
    assert store.opt_out(str(stored["item"]))
    status, problem = review(keeping_site, b"no picture")
    assert (status, problem["code"]) == (422, "not_reviewable")
    assert store.items() == []


def test_a_site_without_a_store_offers_no_review(site: SiteProcess, portrait: bytes) -> None:
    assert site.get("/v1/bundle").json["review"] is False
    assert review(site, portrait)[0] == 404


def test_document_and_routes_agree_with_reviews(kept: Path, bundle: Bundle, contract: LoadedContract) -> None:
    store = ReviewStore.open(kept / "other", None, contract)
    routed = {route.path for route in Site(Judge(bundle), review=store).routes()}
    assert routed == set(openapi.document(review=True)["paths"])
    assert routed - set(openapi.document()["paths"]) == {"/v1/review"}
