"""Many pictures: the files of folders in a fixed order, judged by one process or several.

A worker that dies takes only its own picture with it: that picture gets an error line, a new worker takes over.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ecdd.detector import Detector
    from ecdd.tracing import StageRecord

# of the 255 that a file system allows; the digest and a temporary name need some
_NAME_BYTES = 150


@dataclass(frozen=True)
class Settings:
    """What every worker judges with: checked once, before any of them starts.

    Attributes
    ----------
    bundle : Bundle
        Checked bundle.
    contract : LoadedContract or None
        In place of the bundle's.
    heatmaps : Path or None
        Folder for heatmaps.
    """

    bundle: Bundle
    contract: LoadedContract | None = None
    heatmaps: Path | None = None

    def judge(self, detector: Detector, item: Any) -> dict[str, Any]:  # noqa: ANN401 - a subclass has its own items
        """Line of one item; here an item is a path."""
        return judge_one(detector, item, self.heatmaps)

    def died(self, item: Any, exitcode: int | None) -> dict[str, Any]:  # noqa: ANN401
        """Line of an item whose worker died."""
        return _died(item, exitcode)


def find_files(paths: Iterable[Path]) -> tuple[list[Path], int]:
    """List files in the given order, folders recursively and sorted.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders.

    Returns
    -------
    files : list of Path
        Every file; what is no picture will be rejected with a code, not left out.
    hidden : int
        Files and folders found whose name begins with a dot; they are left out, a folder with all that is in it.
    """
    files: list[Path] = []
    hidden = 0
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        for folder, names, inside in os.walk(path):
            hidden += sum(name.startswith(".") for name in (*inside, *names))
            names[:] = sorted(name for name in names if not name.startswith("."))
            files += [Path(folder) / name for name in sorted(inside) if not name.startswith(".")]
    return files, hidden


def judge_one(detector: Detector, path: Path, heatmaps: Path | None) -> dict[str, Any]:
    """Judge one file and, when asked, draw its heatmap.

    Returns
    -------
    dict
        The verdict as JSON values; ``heatmap`` names the picture that was drawn, or is None.
    """
    record = detector.examine(path)
    line: dict[str, Any] = detector.summarise(record, str(path)).model_dump(mode="json")
    line["heatmap"] = None
    deciding = record.decision.deciding_face
    if heatmaps is not None and deciding is not None:
        line["heatmap"] = str(_draw(detector, record, deciding, path, heatmaps))
    return line


def _draw(detector: Detector, record: StageRecord, deciding: int, path: Path, folder: Path) -> Path:
    """Write the heatmap of the deciding face; its name holds the picture's own and the digest of its content."""
    from ecdd.files import write_bytes
    from ecdd.heatmap import heatmap

    prepared, judged = record.prepared, record.judged[deciding]
    assert prepared is not None
    # bytes that are no text are written out: the name can be printed, stored as JSON and opened again
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    count = len(prepared.faces)
    which = f", face {deciding + 1} of {count}" if count > 1 else ""
    title = f"{record.decision.label}, P(fake) = {judged.probability:.3f}{which}"
    point, codes = detector.policy.operating_point, " ".join(record.decision.reason_codes)
    subtitle = f"{name[-60:]} - real <= {point.t_real:.3f}, fake >= {point.t_fake:.3f}{' - ' if codes else ''}{codes}"
    drawn = heatmap(prepared.faces[deciding].s3, judged.patch_map, detector.policy, title, " ".join(subtitle.split()))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", compress_level=3)
    stem = name.removesuffix(path.suffix).encode()[:_NAME_BYTES].decode("utf-8", "ignore")
    target = folder / f"{stem}-{prepared.decoded.sha256[:8]}.png"
    write_bytes(target, buffer.getvalue())
    return target


def judge_all(files: Sequence[Any], settings: Settings, jobs: int) -> Iterator[dict[str, Any]]:
    """Judge files and yield their lines in the order of the files.

    Parameters
    ----------
    files : sequence
        Paths, or the items of the settings' own kind.
    settings : Settings
        Bundle, contract, heatmap folder.
    jobs : int
        Worker processes; with 1 this process does the work.

    Yields
    ------
    dict
        One line a file.
    """
    if jobs <= 1 or len(files) <= 1:
        from ecdd.detector import Detector

        detector = Detector.load(settings.bundle, settings.contract)
        for path in files:
            yield settings.judge(detector, path)
        return
    yield from _Pool(files, settings, min(jobs, len(files))).run()


def judge_apart(files: Sequence[Any], settings: Settings) -> Iterator[dict[str, Any]]:
    """Judge files in one process that is not this one, whose death is a line; parameters as in `judge_all`."""
    yield from _Pool(files, settings, 1).run()


def _work(connection: Connection, settings: Settings, inherited: tuple[Connection, ...]) -> None:
    """Loop of a worker: a path in, a line out, until None comes or the parent is gone.

    What would stop one process as well is sent instead of a line: None where the detector cannot be loaded, and the
    error where a heatmap cannot be written.
    """
    from ecdd.detector import Detector

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its workers
    for parents in inherited:  # with a copy of the parent's end open, its death would never be noticed
        parents.close()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            detector = Detector.load(settings.bundle, settings.contract)
        except Exception:  # noqa: BLE001 - the parent raises it again, once and in its own words
            connection.send(None)
            return
        while (path := connection.recv()) is not None:
            try:
                line = settings.judge(detector, path)
            except OSError as error:
                connection.send(error)
                return
            connection.send(line)


class _Pool:
    """Workers that each have one picture at a time, so that a death names its picture."""

    def __init__(self, files: Sequence[Any], settings: Settings, jobs: int) -> None:
        self._files, self._settings = files, settings
        self._next = 0
        self._results: dict[int, dict[str, Any]] = {}
        self._busy: dict[Connection, tuple[int, Any]] = {}
        # Forking from a process without threads shares the imports; later ones are spawned, since threads may run.
        method = "fork" if sys.platform == "linux" else "spawn"
        import ecdd.detector  # noqa: F401 - imported once, before the workers are made

        for _ in range(jobs):
            self._start(method)

    def _start(self, method: str = "spawn") -> None:
        if self._next >= len(self._files):
            return
        import multiprocessing

        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        inherited = (*self._busy, ours) if method == "fork" else ()
        process = context.Process(target=_work, args=(theirs, self._settings, inherited), daemon=True)
        process.start()
        theirs.close()
        self._give(ours, process)

    def _give(self, connection: Connection, process: Any) -> None:  # noqa: ANN401 - process types differ by method
        if self._next >= len(self._files):
            _dismiss(connection, process)
            return
        index = self._next
        self._next += 1
        self._busy[connection] = (index, process)
        with contextlib.suppress(OSError):  # it died before it was asked; its end is noticed below
            connection.send(self._files[index])

    def run(self) -> Iterator[dict[str, Any]]:
        """Yield results in order; stop the workers whatever happens."""
        try:
            for index in range(len(self._files)):
                while index not in self._results:
                    self._collect()
                yield self._results.pop(index)
        finally:
            for connection, (_, process) in list(self._busy.items()):
                process.terminate()
                _dismiss(connection, process)

    def _collect(self) -> None:
        from multiprocessing.connection import Connection, wait

        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            index, process = self._busy.pop(connection)
            try:
                line = connection.recv()
            except (EOFError, OSError):
                process.join()
                self._results[index] = self._settings.died(self._files[index], process.exitcode)
                connection.close()
                self._start()
                continue
            if not isinstance(line, dict):
                _dismiss(connection, process)
                raise line if isinstance(line, OSError) else self._why_not_loaded()
            self._results[index] = line
            self._give(connection, process)

    def _why_not_loaded(self) -> Exception:
        from ecdd.detector import Detector

        try:
            Detector.load(self._settings.bundle, self._settings.contract)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return error
        return RuntimeError("a worker could not load the detector, though this process can")


def _dismiss(connection: Connection, process: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(OSError):  # already gone
        connection.send(None)
    connection.close()
    process.join()


def _died(path: Path, exitcode: int | None) -> dict[str, Any]:
    """Line for a picture whose worker died: counted as an error, never scored."""
    return {
        "path": str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "label": "abstain",
        "outcome": "error",
        "probability": None,
        "logit": None,
        "reason_codes": ["SY-001"],
        "detail": f"the worker process ended with {exitcode} on this picture",
        "faces": [],
        "deciding_face": None,
        "heatmap": None,
    }
