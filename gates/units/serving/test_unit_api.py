"""The API of the site as it ships: verdicts, digests, errors, headers; nothing of a file's name, no trace, no file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecdd.contract.loading import LoadedContract
from ecdd.serving.headers import SECURITY_HEADERS
from gates.support.drawn_pictures import bad_files
from gates.support.site_process import FORM, NO_FILES, ROOT, Answer, SiteProcess, form

PRIVATE = "very-private-holiday"
JPEG = {"Content-Type": "image/jpeg"}


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    """A verdict less what differs between two runs or tells where the file lies."""
    left_out = ("milliseconds", "path", "received_sha256", "received_bytes", "digest_checked")
    return {key: value for key, value in line.items() if key not in left_out}


@pytest.mark.parametrize("folder", ["in_scope", "out_of_scope", "edge_cases"])
def test_verdict_is_the_one_of_the_command_line(
    site: SiteProcess, bundle_options: tuple[str, ...], folder: str
) -> None:
    files = sorted(path for path in (ROOT / "golden" / folder).iterdir() if path.suffix in (".jpg", ".png", ".webp"))
    chosen = files[:: max(1, len(files) // 6)]
    assert len(chosen) >= 6
    command = [sys.executable, "-m", "ecdd", "predict", "--json", *map(str, chosen), *bundle_options]
    lines = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout.splitlines()
    for path, line in zip(chosen, lines, strict=True):
        expected, data = json.loads(line), path.read_bytes()
        raw = site.predict(data, f"?name_suffix={path.suffix}")
        multipart = site.predict(form(data, path.name), headers=FORM)
        assert without_times(raw.json) == without_times(expected), path.name
        assert without_times(multipart.json) == without_times(expected), path.name
        assert raw.json["path"] == ""
        assert set(raw.json["milliseconds"]) == set(expected["milliseconds"])
        assert raw.json["received_sha256"] == hashlib.sha256(data).hexdigest()
        assert raw.json["received_bytes"] == len(data)


def test_bad_files_are_verdicts_with_a_client_error(site: SiteProcess, tmp_path: Path) -> None:
    expected = {"IO-002": 415, "IO-006": 415, "IO-001": 422, "IO-008": 422, "GR-001": 200, "GR-006": 200}
    seen = set()
    for path, code in bad_files(tmp_path).values():
        if code == "IO-010":  # no regular file: cannot be sent
            continue
        answer = site.predict(path.read_bytes(), f"?name_suffix={path.suffix}")
        assert code in answer.json["reason_codes"], path.name
        assert answer.status == expected[code], path.name
        assert answer.json["label"] == "abstain"
        seen.add(code)
    assert seen == set(expected)


def test_digest_is_checked_and_a_mismatch_refused(site: SiteProcess, portrait: bytes) -> None:
    digest = hashlib.sha256(portrait).hexdigest()
    assert site.predict(portrait).json["digest_checked"] is False
    for sent in (digest, digest.upper()):
        assert site.predict(portrait, headers={"X-Content-SHA256": sent}).json["digest_checked"] is True
    wrong = site.predict(portrait + b" ", headers={"X-Content-SHA256": digest})
    assert (wrong.status, wrong.json["code"]) == (409, "digest_mismatch")
    in_form = site.predict(form(portrait), headers={**FORM, "X-Content-SHA256": digest})
    assert in_form.json["digest_checked"] is True, "the digest is of the file, not of the form"
    assert site.predict(portrait, headers={"X-Content-SHA256": "abc"}).json["code"] == "bad_digest"


def test_what_one_program_reads_otherwise_than_another_is_refused(site: SiteProcess, portrait: bytes) -> None:
    """A header that is given twice, and a body with two lengths; the connection ends where the body's end is open."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
    length, chunked = b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"
    for line in (
        b"X-Content-SHA256: " + hashlib.sha256(b"x").hexdigest().encode(),
        b"Content-Type: image/png",
        b"Content-Encoding: identity",
        b"Origin: http://localhost",
    ):
        once, twice = (head + length + (line + b"\r\n") * count + b"\r\nx" for count in (1, 2))
        assert b"repeated_header" not in site.raw(once, finish=True), line
        assert b"repeated_header" in site.raw(twice, finish=True), line
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lengths in (length + chunked, chunked + length):
        found = site.raw(head + lengths + b"\r\n0\r\n\r\n" + smuggled)
        assert found.startswith(b"HTTP/1.1 400"), found
        assert b"two_lengths" in found
        assert b"connection: close" in found.lower()
        assert found.count(b"HTTP/1.1 ") == 1, "what follows is no request"
    assert site.predict(portrait).status == 200


def test_details_are_maps_crops_and_stages(site: SiteProcess, portrait: bytes, contract: LoadedContract) -> None:
    import base64
    import io

    import numpy as np
    from PIL import Image

    plain, full = site.predict(portrait).json, site.predict(portrait, "?detail=full").json
    (face,) = full["faces"]
    grid, side = contract.policy.patch_grid, contract.policy.pixel_pipeline.input_size
    patch_map = np.array(face.pop("patch_map"))
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(face.pop("crop_png")))))
    assert patch_map.shape == (grid.rows, grid.cols)
    assert abs(patch_map.max() - full["patch_map"]["max"]) < 1e-4
    assert crop.shape == (side, side, 3)
    stages = full.pop("stages")
    assert {row["stage"] for row in stages} == {f"S{k}" for k in range(9)}
    s3 = next(row for row in stages if row["stage"] == "S3")
    assert s3["image"].endswith(hashlib.sha256(crop.tobytes()).hexdigest())
    assert without_times(full) == without_times(plain)


@pytest.mark.parametrize(
    ("query", "headers", "body", "status", "code"),
    [
        ("?detail=all", {}, b"x", 400, "bad_query"),
        ("?name_suffix=../../etc/passwd", {}, b"x", 400, "bad_query"),
        ("?detail=summary&detail=full", {}, b"x", 400, "bad_query"),
        ("?detail=summary&other&det%61il=summary", {}, b"x", 400, "bad_query"),
        ("", {"Content-Type": "text/html"}, b"x", 415, "content_type"),
        ("", {"Content-Encoding": "gzip"}, b"x", 415, "content_encoding"),
        ("", {"Content-Type": "multipart/form-data"}, b"x", 400, "bad_multipart"),
        ("", FORM, b"--b0undary--\r\n", 400, "bad_multipart"),
        ("", FORM, b"garbage", 400, "bad_multipart"),
        ("", FORM, b"", 400, "bad_multipart"),
        ("", FORM, form(b"x", field="other"), 400, "bad_multipart"),
        ("", FORM, form(b"x")[:-9], 400, "bad_multipart"),
        ("", FORM, form(b"x", name='a.jpg"\r\nContent-Disposition: form-data; name="file'), 400, "bad_multipart"),
        ("", FORM, form(b"x")[:-4] + b"\r\n" + form(b"y"), 400, "bad_multipart"),
        ("", FORM, b"--b0undary\r\n" + b"a: b\r\n" * 50 + b"\r\nx\r\n--b0undary--\r\n", 400, "bad_multipart"),
        ("", {"Content-Type": "multipart/form-data; boundary=" + "x" * 4000}, b"x", 400, "bad_multipart"),
    ],
)
def test_malformed_requests_are_problems(
    site: SiteProcess, query: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    answer = site.predict(body, query, headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "code", "detail", "what_to_do"}


def test_no_name_comes_back(site: SiteProcess, portrait: bytes) -> None:
    name = f'{PRIVATE}"><script>.jpg'.replace('"', "%22")
    answers = [
        site.predict(form(portrait, name), "?detail=full", FORM),
        site.predict(form(portrait, f"{PRIVATE}.png"), "", FORM),  # disguised
        site.predict(form(b"", f"../../{PRIVATE}.jpg"), "", FORM),
        site.predict(portrait, f"?name_suffix=.{PRIVATE}"),
        site.predict(portrait, f"?detail={PRIVATE}"),
        site.get(f"/{PRIVATE}"),
        site.get(f"/static/{PRIVATE}.js"),
    ]
    assert [answer.status for answer in answers] == [200, 415, 422, 400, 400, 404, 404]
    for answer in answers:
        assert PRIVATE.encode() not in answer.body
        assert PRIVATE not in str(answer.headers)
        assert b"Traceback" not in answer.body
    assert PRIVATE not in site.output


def every_kind_of_answer(site: SiteProcess, portrait: bytes) -> dict[str, Answer]:
    return {
        "verdict": site.predict(portrait),
        "rejected": site.predict(b"nothing"),
        "problem": site.predict(b"x", "?detail=all"),
        "not found": site.get("/nothing"),
        "method": site.request("PUT", "/v1/predict"),
        "contract": site.get("/v1/contract"),
        "bundle": site.get("/v1/bundle"),
        "health": site.get("/healthz"),
        "ready": site.get("/readyz"),
        "metrics": site.get("/metrics"),
        "openapi": site.get("/openapi.json"),
        "host": site.get("/healthz", {"Host": "evil.example"}),
        "origin": site.predict(portrait, "", {"Origin": "http://evil.example"}),
    }


def test_every_answer_has_the_security_headers(site: SiteProcess, portrait: bytes) -> None:
    for name, answer in every_kind_of_answer(site, portrait).items():
        for header, value in SECURITY_HEADERS.items():
            assert answer.headers.get(header) == value, (name, header)
        assert answer.headers["cache-control"] == "no-store", name
        assert "server" not in answer.headers, name
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_garbage_on_the_wire_is_answered_with_the_headers_too(site: SiteProcess) -> None:
    garbage = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]
    for data in garbage:
        found = site.raw(data, finish=True).lower()
        assert found.startswith(b"http/1.1 4"), data[:60]
        assert b"content-security-policy" in found, data[:60]
        assert b"traceback" not in found
    pipelined = site.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x01garbage\r\n\r\n", finish=True)
    assert pipelined.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in pipelined
    assert site.get("/healthz").status == 200


def test_other_hosts_and_origins_are_refused(site: SiteProcess, portrait: bytes) -> None:
    own = f"127.0.0.1:{site.port}"
    for host in (own, "localhost", "LOCALHOST:1", "[::1]:8000", "127.0.0.1"):
        assert site.get("/healthz", {"Host": host}).status == 200, host
    for host in (
        *("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost@evil.example:80", "[::1", "[::1]x"),
        *(
            "evil@localhost",
            "localhost/",
            "localhost/evil",
            "localhost?x",
            "localhost#x",
            "localhost:port",
            "localhost:",
        ),
        *("local\thost", "localhost:80:80", "localhost\\", "[localhost]", "[::1%25eth0]", "%6cocalhost", "localhost,x"),
    ):
        assert site.get("/healthz", {"Host": host}).json["code"] == "host_not_allowed", host
    assert site.predict(portrait, "", {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}).status == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{site.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert site.predict(portrait, "", headers).json["code"] == "cross_origin", headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static",
        "/../../../etc/passwd",
        "/static/index.html/../../app.py",
        "/v1/../static/%252e%252e%252fapp.py",
    ],
)
def test_no_path_leads_out_of_the_table(site: SiteProcess, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert answer.json["code"] == "not_found"


def test_contract_and_bundle_are_those_in_force(site: SiteProcess, contract: LoadedContract, bundle: Any) -> None:
    shown = site.get("/v1/contract").json
    assert shown["digest"] == contract.digest
    assert {key: entry["value"] for key, entry in shown["values"].items()} == json.loads(json.dumps(contract.values))
    assert {entry["status"] for entry in shown["values"].values()} <= {"frozen", "proposed"}
    described = site.get("/v1/bundle").json
    assert described["payload_digest"] == bundle.payload_digest
    assert described["thresholds"]["t_fake"] == contract.policy.operating_point.t_fake


def test_metrics_count_and_name_no_client(site: SiteProcess, portrait: bytes) -> None:
    sample = 'ecdd_reason_codes_total{code="IO-002"}'
    before = site.metric(sample)
    site.predict(b"nothing at all")
    assert site.metric(sample) == before + 1
    answer = site.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert "127.0." not in text
    assert "client" not in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    documented = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names} <= documented


def test_nothing_is_written_to_disk(site: SiteProcess, contract: LoadedContract) -> None:
    """The whole site runs under a limit of 0 bytes a file: a form of many megabytes passes, a spooled one could not."""
    control = "import tempfile as t; f = t.SpooledTemporaryFile(max_size=1 << 20); f.write(bytes(3 << 20)); f.flush()"
    spooled = subprocess.run([*NO_FILES, sys.executable, "-c", control], capture_output=True, check=False)
    assert b"Error: [Errno" in spooled.stderr, "the limit does not hold spooled files"
    large = b"\xff\xd8\xff" + bytes(contract.policy.pixel_pipeline.max_bytes - 3)
    assert site.predict(form(large), "", FORM).status == 422
    assert site.predict(large).status == 422
