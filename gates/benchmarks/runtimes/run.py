"""The speed part of ``make bench``: time the model, judge the promises, write JSON, report, figure and docs/speed.md.

``python -m gates.benchmarks.runtimes.run [--out FOLDER] [--page FILE]``. The machine should be quiet: ratios are
taken in turns in one run, milliseconds are not corrected for others' load.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from ecdd.bundle.loading import load_bundle
from ecdd.files import write_bytes, write_text
from gates.benchmarks.running import machine, run_files
from gates.benchmarks.runtimes.figure import draw_pareto
from gates.benchmarks.runtimes.results import NEEDED, Row, result
from gates.benchmarks.runtimes.tables import in_page, report

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
FILES: Final = ("bench_model_speed.py", "bench_edge_process.py", "bench_gate_time.py")
JSON_NAME: Final = "g5_benchmarks.json"


def write(found: Row, out: Path, page: Path | None, limit: float) -> None:
    """Write everything that follows from the numbers."""
    write_text(out / JSON_NAME, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "g5_benchmarks.md", report(found))
    write_bytes(out / "figures" / "g5_speed_accuracy.png", draw_pareto(found, limit))
    if page is not None:
        write_text(page, in_page(page.read_text("utf-8"), found))


def main() -> int:
    """Command line; 1 when a promise is not met or not tested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "default", help="folder of g5_benchmarks.*")
    parser.add_argument("--page", type=Path, help="whose section is made anew; the project's own without --out")
    given = parser.parse_args()
    own = given.out == ROOT / "reports" / "default"
    bundle, about = load_bundle("tiny"), machine()  # student and teacher; their weights are needed
    found = result(run_files([HERE / name for name in FILES], NEEDED, bundle.path), about, bundle.payload_digest)
    page = given.page or (ROOT / "docs" / "speed.md" if own else None)
    write(found, given.out, page, bundle.contract.policy.quantization.max_probability_difference)
    sys.stdout.write(f"\n{report(found)}")
    missed = [one for one in found["promises"] if one["verdict"] != "pass"]
    for one in missed:
        sys.stderr.write(f"{one['verdict']}: {one['metric']}: {one['value']}, promised {one['op']} {one['limit']:g}\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
