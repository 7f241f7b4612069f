"""What a fuzz campaign is aimed at: pictures, and every file and request that the product reads.

A target makes one input of a seed and gives it to the product; `Broken` says what is not as it must be. Any other
exception is one that the product let out.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from ecdd.dataset_governance.lineage_history import history_path
from ecdd.errors import EcddError
from ecdd.export.artifact_manifest import refresh_manifest
from ecdd.pipeline.decode import MAX_SIDE
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.training.config import load_config
from gates.support.command_calls import BUNDLE, CALLS, CONTRACT, ROOT, call
from gates.support.fresh_peak import forget_peak
from gates.support.malformed_files import valid_files
from gates.support.mutations import mutated
from gates.support.odd_shapes import draw_picture
from gates.support.pixel_policies import PIXELS, outcome
from gates.support.site_process import read_all

Target = Callable[[random.Random, Path, Mapping[str, str]], str]
"""Of a seeded generator, an empty folder, and `write_files` with ``port`` of a site; gives the outcome in a word."""

_CODES: Final = {str(code) for code in ReasonCode}
_ESCAPES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VALID: Final = valid_files()
_LARGEST: Final = 4 * 2**20  # of files that are damaged, bytes


class Broken(AssertionError):  # noqa: N818 - a finding
    """The product did not answer as it must."""


def shapes(rng: random.Random, _folder: Path, _files: Mapping[str, str]) -> str:
    """Valid pictures of all shapes and kinds, up to the limit on pixels and beyond the limit on sides."""
    name, data = draw_picture(rng, rng.choice((10**4, 10**6, PIXELS.max_pixels)), MAX_SIDE + 1)
    forget_peak()  # what making it took
    codes = outcome(data)
    if codes not in ((), ("IO-004",)):
        raise Broken(f"{name}: {codes}")
    return codes[0] if codes else "decoded"


def pictures(rng: random.Random, _folder: Path, _files: Mapping[str, str]) -> str:
    """Small pictures of every kind, damaged."""
    name = rng.choice(sorted(_VALID))
    codes = outcome(mutated(_VALID[name], rng), name=rng.choice((name, None)))
    if not set(codes) <= _CODES:
        raise Broken(f"{name}: {codes}")
    return codes[0] if codes else "decoded"


def contracts(rng: random.Random, folder: Path, _files: Mapping[str, str]) -> str:
    """A contract, damaged."""
    path = folder / "contract.yaml"
    path.write_bytes(mutated(CONTRACT.read_bytes(), rng))
    return _called(rng.choice(("contract check", "contract show")), [str(path)])


def bundles(rng: random.Random, folder: Path, _files: Mapping[str, str]) -> str:
    """A bundle with one damaged file, as it is or with a manifest that agrees with the damage."""
    path = Path(shutil.copytree(BUNDLE, folder / "bundle"))
    if rng.random() < 0.3:
        model = path / "model.tflite"
        model.write_bytes(mutated(model.read_bytes(), rng))
    else:
        _damage_one(path, rng)
    if rng.random() < 0.6:
        try:
            refresh_manifest(path)
        except (EcddError, OSError, ValueError):
            return "no manifest"
    name, *words = rng.choice((["bundle verify"], ["bundle show"], ["predict", "--bundle"]))
    picture = [str(ROOT / "golden" / "in_scope" / "fake_generated_00.jpg")] if name == "predict" else []
    return _called(name, [*picture, *words, str(path)])


def evidence(rng: random.Random, folder: Path, _files: Mapping[str, str]) -> str:
    """The folder of a run with one damaged record, index or chain."""
    run = folder / "run"
    run.mkdir()
    for path in sorted((ROOT / "reports" / "default").rglob("*.json*")):
        if path.stat().st_size <= _LARGEST:
            target = run / path.relative_to(ROOT / "reports" / "default")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    _damage_one(run, rng)
    name = rng.choice(("judge", "judge", "report", "release"))
    if name == "release":
        return _called(name, ["--dry-run", "--records", str(run)])
    return _called(name, [str(run)])


_READ: Final = {
    "split": ("govern check", "govern tag"),
    "manifest": ("govern check", "govern split"),
    "history": ("govern check", "govern tag"),
    "head": ("govern check",),
    "store": ("govern check", "govern review status", "govern review next", "govern review export",
              "govern review purge", "govern review label", "govern review rekey"),
    "key": ("govern review status", "govern check"),
    "log": ("monitor report", "monitor check", "monitor purge", "monitor reference"),
    "reference": ("monitor check",),
    "config": ("",),
    "waivers": ("release",),
    "picture": ("predict", "trace"),
}  # fmt: skip
_WAIVERS: Final = b"- {id: E6.1, reason: not run on this machine, owner: someone, expiry: 2030-01-01}\n"


def other_files(rng: random.Random, folder: Path, files: Mapping[str, str]) -> str:
    """Any other file that a command reads, damaged: splits, histories, stores, logs, references, waivers, configs."""
    what = rng.choice(sorted(_READ))
    name = rng.choice(_READ[what])
    given = {**files, "new": str(folder / "new")}
    for key in ("split", "manifest", "key", "log", "reference", "config", "picture"):
        given[key] = str(folder / Path(files[key]).name)
        shutil.copyfile(files[key], given[key])
    given["store"] = str(shutil.copytree(files["store"], folder / "store"))
    history, own = history_path(Path(given["split"])), history_path(Path(files["split"]))
    for suffix in (".jsonl", ".head"):
        shutil.copyfile(own.with_suffix(suffix), history.with_suffix(suffix))
    waivers = folder / "waivers.yaml"
    waivers.write_bytes(_WAIVERS)
    damaged = {"history": history, "head": history.with_suffix(".head"), "waivers": waivers}
    path = damaged.get(what) or Path(given[what])
    if what == "log" and rng.random() < 0.7:
        _impossible_row(path, rng)
    elif path.is_dir():
        _damage_one(path, rng)
    else:
        path.write_bytes(mutated(path.read_bytes(), rng))
    if what == "config":  # where the damage does no harm the command would train
        return _refused_or_read(lambda: load_config(path))
    words = [word.format(**given) for word in CALLS[name].split()]
    words += ["--waivers", str(waivers)] if what == "waivers" else []
    return _called(name, words)


def requests(rng: random.Random, _folder: Path, files: Mapping[str, str]) -> str:
    """Raw bytes to a running site: right requests, damaged anywhere, each from a client of its own."""
    body = rng.choice((b"x", _VALID["baseline.jpg"], b"0\r\n\r\n", b""))
    lines = [
        rng.choice((b"POST /v1/predict HTTP/1.1", b"GET /healthz HTTP/1.1", b"POST /v1/predict?detail=full HTTP/1.1")),
        b"Host: localhost",
        b"Content-Type: " + rng.choice((b"image/jpeg", b"multipart/form-data; boundary=b")),
        b"Content-Length: %d" % len(body),
        *rng.sample((b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"X-Content-SHA256: " + b"0" * 64,
                     b"Connection: keep-alive", b"Host: other", b"Origin: http://localhost"), rng.randrange(3)),
    ]  # fmt: skip
    data = b"\r\n".join(lines) + b"\r\n\r\n" + body
    data = mutated(data, rng) if rng.random() < 0.8 else data
    client = f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(2, 255)}"
    with closing(socket.create_connection(("127.0.0.1", int(files["port"])), 60, (client, 0))) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except ConnectionError:  # answered and closed before all was sent
            pass
        found = read_all(connection)
    statuses = re.findall(rb"(?:^|\r\n)HTTP/1\.1 (\d{3})", found)
    if bool(found) != bool(statuses) or {b"500", b"502"} & set(statuses) or b"Traceback" in found:
        raise Broken(f"{data[:200]!r}: {found[:200]!r}")
    return statuses[-1].decode() if statuses else "closed"


def _damage_one(folder: Path, rng: random.Random) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size <= _LARGEST]
    path = rng.choice(files)
    if rng.random() < 0.05:
        path.unlink()
    else:
        path.write_bytes(mutated(path.read_bytes(), rng))


def _impossible_row(path: Path, rng: random.Random) -> None:
    """Write a value into the log that no event can have; SQLite keeps a text in a column of numbers."""
    with closing(sqlite3.connect(path)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(ecdd_events)")]
        value: Any = rng.choice((2**62, -(2**62), 10**12, "text", b"\xff", None, 1e300, -1, "\x1b[2J"))
        database.execute("PRAGMA ignore_check_constraints = 1")
        database.execute(f"UPDATE ecdd_events SET {rng.choice(columns[1:])} = ? WHERE id = 1", (value,))  # noqa: S608


def _refused_or_read(read: Callable[[], object]) -> str:
    try:
        read()
    except EcddError:
        return "refused"
    return "read"


def _called(name: str, words: list[str]) -> str:
    """Call a command: exit code 0, 1 or 2, no trace, no escape, no message that blames the product."""
    done = call(name, words)
    said = done.output + done.stderr
    if not isinstance(done.exception, SystemExit | None) or done.exit_code not in (0, 1, 2):
        raise Broken(f"{name}: {done.exception!r}")
    if "Traceback" in said or "ecdd: SY-001" in done.stderr or _ESCAPES.search(said):
        raise Broken(f"{name}: {said[-500:]!r}")
    return f"exit {done.exit_code}"


TARGETS: Final[dict[str, Target]] = {
    "shapes": shapes,
    "pictures": pictures,
    "contracts": contracts,
    "bundles": bundles,
    "evidence": evidence,
    "other_files": other_files,
    "requests": requests,
}
