"""Every reader of evidence, histories, keys and settings: what is no such file ends in words, never in a trace."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import ecdd
from ecdd.bundle import load_bundle
from ecdd.bundle.loading import default_bundle_path
from ecdd.dataset_governance.hash_chain import HashChain
from ecdd.dataset_governance.lineage_tags import load_split
from ecdd.dataset_governance.manifest import load_manifest
from ecdd.dataset_governance.review_sealing import ReviewKey
from ecdd.errors import EcddError
from ecdd.evaluation.manifest_stream import Selection, stream
from ecdd.evaluation.score_table import plan_of, read_table
from ecdd.evaluation.transforms import load_suite
from ecdd.evidence.attestation import ATTESTATION_FILE, check_attestation, load_public, load_signer
from ecdd.evidence.chain import EVIDENCE_FILE, read_chain
from ecdd.evidence.claims import never_tested_on
from ecdd.evidence.declarations import load_declared, load_expected
from ecdd.evidence.head import read_head
from ecdd.evidence.merging import read_fragments, read_records
from ecdd.evidence.mutation_table import MUTANTS_FILE, read_mutants
from ecdd.evidence.records import Figure
from ecdd.evidence.report_pictures import Pictures
from ecdd.evidence.report_rows import _figure
from ecdd.evidence.selection import read_collection
from ecdd.evidence.session import payload_digest_of
from ecdd.files import read_text
from ecdd.monitoring.reference import load
from ecdd.release.approving import REPORT, check_released
from ecdd.release.signing import SIGNATURE, make_keys, sign, verify
from ecdd.release.waivers import load_waivers
from ecdd.training.config import load_config, load_face_config

SEVENTY: Final = "a" * 64
CONTENTS: Final = {
    "nothing": b"",
    "deep and closed": b"[" * 1_100 + b"]" * 1_100,
    "deep objects": b'{"a":' * 1_100,
    "no UTF-8": b'{"a": "\xff\xfe"}\n',
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "zeros": bytes(100),
    "a number without end": b"9" * 9_000,
    "an exponent without end": b"[1e99999, -1e99999, NaN]\n",
    "half a surrogate": b'{"sha256": "\\ud800", "previous": "", "a": "\\ud800"}\n',
    "null": b"null\n",
    "a text": b'"text"\n',
    "a number": b"3\n",
    "a list": b"[1, null]\n",
    "lists": b"[[], {}]\n",
    "an object": b'{"a": {"b": 1}}\n',
    "null in all fields": b'{"sha256": null, "lines": null, "previous": null, "collected": null, "payload": null}\n',
    "YAML: list as key": b"? [a]\n: b\n",
    "YAML: object": b"!!python/object/apply:os.getcwd []\n",
    "YAML: no date": b"- {id: E1.1, reason: 2026-13-99}\n",
    "YAML: no bool": b"!!bool x\n",
    "YAML: laughs": b"a: &a [x, x]\n"
    + b"".join(b"%c: &%c [*%c, *%c]\n" % (k, k, k - 1, k - 1) for k in range(ord("b"), ord("v"))),
    "YAML: itself": b"&a [*a]\n",
    "escapes": b"\x1b[31m\x00\x9b2J",
    "long line": b"x," * 200_000,
}  # fmt: skip


# who may parse: pipes between processes of ours bring no file
PARSERS: Final = {"files.py", "serving/judging_process.py", "serving/workers.py"}


def test_one_module_parses_json_and_yaml() -> None:
    """Elsewhere a file that is nested too deeply, or no UTF-8, would escape: another parser, another set of errors."""
    package, parses = Path(ecdd.__file__).parent, re.compile(r"(json|yaml)\.(safe_|full_|unsafe_)?loads?(_all)?\(")
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if parses.search(path.read_text(encoding="utf-8"))
    }
    assert found == PARSERS


def _in(name: str, read: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    """A reader of a folder, whose file ``name`` holds the content."""

    def given(folder: Path, content: bytes) -> Any:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(folder)

    return given


def _file(read: Callable[[Path], Any], name: str = "file") -> Callable[[Path, bytes], Any]:
    return _in(name, lambda folder: read(folder / name))


def _chain(name: str) -> Callable[[Path, bytes], Any]:
    def read(folder: Path) -> Any:
        if name == "history.jsonl":
            (folder / "history.head").write_text(f'{{"lines": 1, "sha256": "{SEVENTY}"}}\n', encoding="utf-8")
        else:
            (folder / "history.jsonl").write_bytes(b"")
        return HashChain(folder / "history.jsonl").read()

    return _in(name, read)


def _own(name: str, read: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    """A reader of a released bundle of which one file is damaged."""
    released = Path(__file__).parents[1] / "release" / "fixtures" / "released"

    def given(folder: Path, content: bytes) -> Any:
        bundle = Path(shutil.copytree(released, folder / "bundle"))
        (bundle / name).write_bytes(content)
        return read(bundle)

    return given


def _signed(folder: Path, content: bytes) -> None:
    """A private key that is none."""
    (folder / "key").write_bytes(content)
    (folder / "bundle").mkdir()
    (folder / "bundle" / "file").write_bytes(b"x")
    sign(folder / "bundle", folder / "key")


def _verified(folder: Path, content: bytes) -> None:
    (folder / "key").write_bytes(content)
    released = Path(__file__).parents[1] / "release" / "fixtures" / "released"
    verify(released, folder / "key")


def _attested(folder: Path) -> list[str]:
    make_keys(folder / "runner.pem", folder / "runner.pub.pem")
    return check_attestation(folder, folder / "runner.pub.pem", SEVENTY)


def _check_released(bundle: Path) -> str:
    return check_released(load_bundle(bundle), None)


def _unsigned(bundle: Path) -> None:
    verify(bundle, Path(__file__).parents[1] / "release" / "fixtures" / "released.pub.pem")


READERS: Final = {
    "chain of tests": _in(EVIDENCE_FILE, read_chain),
    "head": _in("index.json", read_head),
    "record": _in("phase1_results/E1.1.json", read_records),
    "fragment": _in("test-1.json", read_fragments),
    "collection": _in("collection-gw0.json", read_collection),
    "declarations": _file(load_declared),
    "expected verdicts": _file(lambda path: load_expected(path, {})),
    "mutants": _in(MUTANTS_FILE, lambda folder: read_mutants(folder, "p", "c")),
    "training record": _in("training_record.json", never_tested_on),
    "manifest of a bundle": _in("manifest.json", payload_digest_of),
    "attestation": _in(ATTESTATION_FILE, _attested),
    "public key": _file(load_public),
    "private key": _file(load_signer),
    "key that signs": _signed,
    "key that verifies": _verified,
    "signature": _own(SIGNATURE, _unsigned),
    "approving report": _own(REPORT, _check_released),
    "page of a release": _own("release/approval.md", _check_released),
    "waivers": _file(load_waivers),
    "history": _chain("history.jsonl"),
    "head of a history": _chain("history.head"),
    "reference": _file(load),
    "plan of a table": _file(lambda path: plan_of(read_text(path), str(path))),
    "table of scores": _file(read_table, "table.parquet"),
    "table of scores as JSON": _file(read_table, "table.jsonl"),
    "suite of transforms": _file(load_suite),
    "configuration": _file(load_config),
    "configuration of a training on faces": _file(load_face_config),
    "split": _file(load_split),
    "manifest of data": _file(load_manifest),
    "manifest of data, read row by row": _file(lambda path: list(stream(path, Selection({}, None)))),
    "key of reviews": _file(ReviewKey.read),
}


@pytest.mark.parametrize("reader", list(READERS))
def test_what_is_no_such_file_ends_in_words(tmp_path: Path, reader: str) -> None:
    """Refused by an error of ours, or answered with what is wrong; anything else would reach the user as a trace."""
    escaped = []
    for number, (name, content) in enumerate(CONTENTS.items()):
        (folder := tmp_path / str(number)).mkdir()
        try:
            READERS[reader](folder, content)
        except EcddError:
            continue
        except Exception as error:  # noqa: BLE001 - what this looks for
            escaped.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    assert not escaped, "\n".join(escaped)


@pytest.mark.parametrize("kind", ["png", "text", "other", "gone"])
def test_a_figure_is_shown_or_it_is_said_why_not(tmp_path: Path, kind: str) -> None:
    shown = default_bundle_path().parents[2] / "reports" / "default" / "figures" / "E4.5-histograms.png"
    content = b"no picture" if kind == "text" else shown.read_bytes()
    said = {"png": "", "text": "the file is no PNG", "other": "not the one that the run drew", "gone": "is gone"}[kind]
    if kind != "gone":
        (tmp_path / "f.png").write_bytes(content + b"\0" if kind == "other" else content)
    figure = Figure(name="f", test="t", file="f.png", caption="c", sha256=hashlib.sha256(content).hexdigest())
    row = _figure(figure, tmp_path, Pictures())
    assert (row.picture is not None, said in row.why) == (kind == "png", True)
    assert bool(row.why) == (kind != "png")
