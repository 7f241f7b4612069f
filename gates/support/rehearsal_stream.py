"""The stream of the rehearsal: golden pictures and what becomes of them on their way, as files with a manifest."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecdd import detector
from ecdd.batch import judge_apart
from ecdd.bundle import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.evaluation.scoring import Request, ScoreSettings, score_one
from ecdd.evaluation.transforms import UNTOUCHED, apply, load_suite
from ecdd.files import write_bytes, write_text
from ecdd.golden.golden_sets import GoldenSet
from ecdd.monitoring.canary_scoring import answers, tasks_of
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.stages import PreparedPicture
from gates.support.rehearsed_bundles import CANDIDATES

_LABELS = {"real": "0", "fake": "1", None: ""}
# of which no golden face reaches the model, or few: they would only cost time
_LEFT_OUT = ("blur_1", "blur_2", "blur_4", "down_up_33")
Rows = list[dict[str, Any]]


def make_stream(golden: GoldenSet, folder: Path, policy: PolicyContract) -> tuple[Path, dict[str, str]]:
    """Write the golden pictures that reach the model under the transform suite, edge cases and pictures out of scope.

    Returns
    -------
    tuple of (Path, dict of str to str)
        Folder with ``manifest.csv``; photograph by SHA-256 of every file: the clusters.
    """
    photographs = {item.id: item.photograph for item in golden.items}
    lines, groups = [], {}
    for item in golden.items:
        kind = item.set
        if kind != "out_of_scope" and item.expected.outcome != "reaches_model":
            continue
        source = Path(item.path)
        data = read_file(source, policy.pixel_pipeline)
        whole = [t for t in load_suite().transforms if t.name not in _LEFT_OUT]
        for transform in whole if kind == "in_scope" else [load_suite().named(UNTOUCHED)]:
            made, name = apply(transform, data, source.name, policy.pixel_pipeline)
            path = f"{item.id}-{transform.name}{Path(name).suffix}"
            write_bytes(folder / path, made)
            digest = hashlib.sha256(made).hexdigest()
            scope = "ood" if kind == "out_of_scope" else "face"
            label = "" if scope == "ood" else _LABELS[item.expected.label]
            lines.append({"path": path, "label": label, "scope": scope, "source": "golden", "sha256": digest})
            origin = item.photograph or next((photographs.get(o) or o for o in item.derived_from), item.id)
            groups[digest] = origin
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return folder, groups


# compared in pairs: both bundles at the same picture at the same time, for what is timed
_TIMED = ("same", "slow_kernels")


class Rehearsal:
    """Answers of the shipped bundle and of every candidate, computed once for all workers of a run."""

    def __init__(self, golden: GoldenSet, bundle: Bundle, contract: LoadedContract, folder: Path) -> None:
        self._golden, self._bundle, self.policy, self._folder = golden, bundle, contract.policy, folder

    def _stream(self) -> tuple[Path, dict[str, str]]:
        known = self._folder / "groups.json"
        with self._alone("stream"):
            if not known.exists():
                (self._folder / "stream").mkdir(parents=True, exist_ok=True)
                _, groups = make_stream(self._golden, self._folder / "stream", self.policy)
                write_text(known, json.dumps(groups))
        return self._folder / "stream", json.loads(known.read_text())

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def answers(self, name: str) -> tuple[Rows, Rows, dict[str, str]]:
        """Rows of the shipped bundle, of a candidate of `CANDIDATES`, and the clusters.

        The shipped bundle's rows are those of the pair ``same`` wherever nothing is timed: the same bundle on the
        same files.
        """
        stream, groups = self._stream()
        if name in _TIMED:
            current, newer = self._stored(name, lambda: self._pair(name, stream))
        else:
            current, _, _ = self.answers("same")
            newer = self._stored("untimed", lambda: self._untimed(stream))[name]
        return current, newer, groups

    def _stored(self, name: str, compute: Callable[[], Any]) -> Any:
        with self._alone(name):
            stored = self._folder / f"{name}.json"
            if not stored.exists():
                write_text(stored, json.dumps(compute()))
        return json.loads(stored.read_text())

    def _candidate(self, name: str) -> Bundle:
        return CANDIDATES[name](self._bundle, self._folder / "bundles" / name)

    def _pair(self, name: str, stream: Path) -> tuple[Rows, Rows]:
        return answers(self._bundle, self._candidate(name), Request(stream, self._bundle))

    def _untimed(self, stream: Path) -> dict[str, Rows]:
        names = [name for name in CANDIDATES if name not in _TIMED]
        settings = _SideBySide(self._bundle, root=stream, candidates=tuple(map(self._candidate, names)))
        rows = list(judge_apart(tasks_of(Request(stream, self._bundle)), settings))
        return {name: [row["rows"][k] for row in rows] for k, name in enumerate(names)}


@dataclass(frozen=True)
class _SideBySide(ScoreSettings):
    """Several bundles of one contract at every picture, which is prepared once for all of them."""

    candidates: tuple[Bundle, ...] = ()

    def load(self) -> Any:
        """Detectors of all candidates, in a process of their own: `prepare` is what makes S1 to S3 of a file."""
        really: Callable[..., PreparedPicture] = detector.prepare
        last: dict[bytes, PreparedPicture] = {}

        def once(data: bytes, policy: PolicyContract, finder: FaceBackend, *, name: str | None) -> PreparedPicture:
            if data not in last:
                last.clear()
                last[data] = really(data, policy, finder, name=name)
            return last[data]

        detector.prepare = once  # type: ignore[assignment]
        assert {one.contract.digest for one in self.candidates} == {self.bundle.contract.digest}
        return [detector.Detector.load(one) for one in self.candidates]

    def judge(self, detector: Any, item: Any) -> dict[str, Any]:
        """Rows of a task."""
        return {"rows": [score_one(one, item, self.root) for one in detector]}
