"""Many pictures: the files of folders in a fixed order, judged by one process or several; lines for the commands."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.pipeline.picture_input import path_of
from ecdd.worker_pool import Pool

if TYPE_CHECKING:
    from PIL import Image

    from ecdd.detector import Detector
    from ecdd.verdict import Verdict

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

    def load(self) -> Detector:
        """Load what a worker judges with."""
        from ecdd.detector import Detector

        return Detector.load(self.bundle, self.contract)

    def judge(self, detector: Detector, item: Any) -> dict[str, Any]:  # noqa: ANN401 - a subclass has its own items
        """Line of one item; here an item is what `Detector.predict` takes."""
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


def judge_one(detector: Detector, item: Any, heatmaps: Path | None) -> dict[str, Any]:  # noqa: ANN401
    """Judge one file and, when asked, draw its heatmap.

    Returns
    -------
    dict
        The verdict as JSON values; ``heatmap`` names the picture that was drawn, or is None.
    """
    verdict = detector.verdict(item, keep=heatmaps is not None)
    line = verdict.to_dict()
    drawn = verdict.heatmap() if heatmaps is not None else None
    line["heatmap"] = None if drawn is None or heatmaps is None else str(_write(drawn, verdict, heatmaps))
    return line


def _write(drawn: Image.Image, verdict: Verdict, folder: Path) -> Path:
    """Write a heatmap; its name holds the picture's own and the digest of its content."""
    from ecdd.files import write_output

    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", compress_level=3)
    # of a path, bytes that are no text are written out: the name can be printed, stored as JSON and opened again
    stem = PurePath(verdict.path).stem.encode()[:_NAME_BYTES].decode("utf-8", "ignore")
    target = folder / f"{stem}-{str(verdict.file_sha256)[:8]}.png"
    write_output(target, buffer.getvalue())
    return target


def judge_all(items: Iterable[Any], settings: Settings, jobs: int) -> Iterator[dict[str, Any]]:
    """Judge files and yield their lines in the order of the files.

    Parameters
    ----------
    items : iterable
        Paths, or the items of the settings' own kind; none is read before it is needed.
    settings : Settings
        Bundle, contract, heatmap folder.
    jobs : int
        Worker processes; with 1 this process does the work.

    Yields
    ------
    dict
        One line a file.
    """
    if jobs <= 1:
        detector = settings.load()
        for item in items:
            yield settings.judge(detector, item)
        return
    yield from _pooled(items, settings, jobs)


def judge_apart(items: Iterable[Any], settings: Settings) -> Iterator[dict[str, Any]]:
    """Judge files in one process that is not this one, whose death is a line; parameters as in `judge_all`."""
    yield from _pooled(items, settings, 1)


def _pooled(items: Iterable[Any], settings: Settings, jobs: int) -> Iterator[dict[str, Any]]:
    import ecdd.detector  # noqa: F401 - imported once, before the workers are forked

    yield from Pool(items, settings, jobs, fork=True).run()


def _died(item: Any, exitcode: int | None) -> dict[str, Any]:  # noqa: ANN401
    """Line for a picture whose worker died: counted as an error, never scored."""
    return {
        "path": path_of(item).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
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
