"""Decodes the malformed corpus in a process of its own and prints what happened to each file, as JSON lines.

Run as ``python -m gates.support.run_corpus FOLDER``. Peak memory is that of the whole process, so the first file after
which it exceeds a limit is the one that did it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.reason_codes import Rejected
from gates.support.fresh_peak import peak_bytes
from gates.support.malformed_corpus import build_corpus
from gates.support.pixel_policies import PIXELS


def main(folder: Path) -> None:
    for file in build_corpus(folder):
        codes: list[str] = []
        error = ""
        started = time.process_time()
        try:
            decode(read_file(file.path, PIXELS), PIXELS, name=file.path.name)
        except Rejected as rejected:
            codes = [str(code) for code in rejected.codes]
            error = "" if codes else "rejected without a code"
        except Exception as unexpected:  # noqa: BLE001 - what this run looks for
            error = repr(unexpected)
        seconds = time.process_time() - started
        row = {"name": file.name, "codes": codes, "error": error, "seconds": seconds, "peak": peak_bytes()}
        row |= {"allowed": file.allows(tuple(codes)), "open": file.outcomes is None}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
