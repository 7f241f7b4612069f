"""What runs inside a worker process: one warm detector, one picture at a time, answers as JSON bytes.

Answers are JSON and not pickles: the process that decodes foreign files has no way to run code in the one that serves.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import numpy as np
    from numpy.typing import NDArray

    from ecdd.detector import Detector
    from ecdd.tracing import StageRecord

_LOGIT_DIGITS = 4
_NO_PICTURE = b""


@dataclass(frozen=True)
class Judge:
    """What every worker judges with: checked once, before any of them starts.

    Attributes
    ----------
    bundle : Bundle
        Checked bundle.
    contract : LoadedContract or None
        In place of the bundle's.
    """

    bundle: Bundle
    contract: LoadedContract | None = None

    @property
    def in_force(self) -> LoadedContract:
        """The contract that verdicts follow."""
        return self.bundle.contract if self.contract is None else self.contract

    def load(self) -> Detector:
        """Load the detector in the process that calls."""
        from ecdd.detector import Detector

        return Detector.load(self.bundle, self.contract)


def work(connection: Connection, judge: Judge) -> None:
    """Loop of a worker, until the other end is closed.

    First sends the verdict on an empty file: it says that the detector is loaded, and everything that verdicts have in
    common; or ``error`` where it cannot be loaded. Then takes two messages a picture (JSON with ``suffix`` and
    ``full``, the file's bytes) and sends one.

    Parameters
    ----------
    connection : Connection
        To the serving process.
    judge : Judge
        Bundle and contract.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server finishes what is begun
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            detector = judge.load()
        except Exception as error:  # noqa: BLE001 - the server says why it cannot start, in one line
            connection.send_bytes(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
            return
        _warm(detector)
        _write_no_files()
        connection.send_bytes(json.dumps(answer(detector, _NO_PICTURE, "", full=False)).encode())
        while True:
            asked = json.loads(connection.recv_bytes())
            reply = answer(detector, connection.recv_bytes(), asked["suffix"], full=asked["full"])
            connection.send_bytes(json.dumps(reply, allow_nan=False).encode())


def _warm(detector: Detector) -> None:
    """Go the whole way once: what is loaded or allocated at first use costs the first picture 10 ms."""
    import numpy as np
    from PIL import Image

    pixels = detector.policy.pixel_pipeline
    blank = io.BytesIO()
    Image.new("RGB", (512, 512), (128, 128, 128)).save(blank, "JPEG")
    detector.examine(blank.getvalue())  # decoding and the face detector; there is no face for the model
    detector.runtime.outputs(np.zeros((1, pixels.input_size, pixels.input_size, 3), np.float32))


def _write_no_files() -> None:
    """Let the kernel refuse every write to a file: a picture cannot reach the disk, nor a core dump of one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(detector: Detector, data: bytes, suffix: str, *, full: bool) -> dict[str, Any]:
    """Judge one file as ``ecdd predict --json`` does.

    Parameters
    ----------
    detector : Detector
        Warm detector.
    data : bytes
        The file.
    suffix : str
        Extension of its name, for example ``".jpg"``; empty when unknown. Nothing else of the name is known here.
    full : bool
        Add patch maps, crops and stages.

    Returns
    -------
    dict
        ``verdict``: JSON values of the verdict; ``details``: stages, and patch map (logits) and S3 (base64 PNG) of each
        face, or None.
    """
    record = detector.examine(data, f"upload{suffix}" if suffix else None)
    return {
        "verdict": detector.summarise(record, "").model_dump(mode="json"),
        "details": _details(record) if full else None,
    }


def _details(record: StageRecord) -> dict[str, Any]:
    prepared = record.prepared
    faces = [
        {"patch_map": _map(record, index), "crop_png": _png(face.s3)}
        for index, face in enumerate(() if prepared is None else prepared.faces)
    ]
    return {"stages": record.rows(), "faces": faces}


def _map(record: StageRecord, index: int) -> list[list[float]] | None:
    judged = record.judged.get(index)
    return None if judged is None else [[round(v, _LOGIT_DIGITS) for v in row] for row in judged.patch_map.tolist()]


def _png(s3: NDArray[np.uint8]) -> str:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(s3).save(png, "PNG", compress_level=1)
    return base64.b64encode(png.getvalue()).decode()
