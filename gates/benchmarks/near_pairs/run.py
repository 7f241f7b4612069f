"""``make bench``: near pairs among a million hashes, with the recall of planted copies by distance.

``python -m gates.benchmarks.near_pairs.run [--data MANIFEST] [--hashes N] [--rounds N] [--out FOLDER]``. Planted are
copies at a known distance among uniform hashes, turned and mirrored, and noisy copies among hashes of mixed windows of
pictures (of ``--data``, or of the golden set). Each search runs in a process of its own, so that its largest memory is
its own; that of making the hashes is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.near_pairs import TABLES, distances_of, near_pairs
from ecdd.files import write_text
from gates.benchmarks.running import machine
from gates.support.made_hashes import SIZE, of_windows, symmetric, uniform

ROOT: Final = Path(__file__).resolve().parents[3]
PLANTED: Final = 4000
THREADS: Final = 2
MOST_SECONDS, MOST_MEGABYTES = 60.0, 4096.0
KINDS: Final = ("uniform", "pictures")
_STEP: Final = 6


def grey(data: Path | None) -> list[Any]:
    """Grey levels of the pictures of a manifest or of the golden set, sides of at most 512."""
    from ecdd.dataset_governance.manifest import load_manifest

    if data is not None:
        paths = [row.path for row in load_manifest(data, check_digests=False)]
    else:
        paths = sorted(p for s in ("in_scope", "out_of_scope") for p in (ROOT / "golden" / s).iterdir())
    found = []
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").convert("L")
        small.thumbnail((512, 512))
        if min(small.size) >= 2 * SIZE * 2:
            found.append(np.asarray(small, np.float32))
    return found


def made(kind: str, n: int, data: Path | None) -> Any:
    """Hashes whose last `PLANTED` are turned and mirrored copies of the first."""
    rng = np.random.default_rng(0)
    if kind == "uniform":
        bits = uniform(n, rng)
        near = np.arange(PLANTED) % load_contract().policy.dataset_governance.near_duplicate_max_distance + 1
        order = rng.random((PLANTED, SIZE * SIZE)).argsort(axis=1).argsort(axis=1)
        copies = bits[:PLANTED] ^ (order < near[:, None]).reshape(-1, SIZE, SIZE)
    else:
        bits, changed = of_windows(grey(data), n, rng)
        copies = changed[:PLANTED]
    odd = np.arange(SIZE) % 2 == 1
    for k, copy in enumerate(copies):
        turned = copy ^ odd if k & 1 else copy
        turned = turned ^ odd[:, None] if k & 2 else turned
        bits[n - PLANTED + k] = turned.T if k & 4 else turned
    return symmetric(bits)


def measured(kind: str, n: int, rounds: int, data: Path | None) -> dict[str, Any]:
    """Seconds, memory and recall of one kind; runs in a process of its own."""
    limit = load_contract().policy.dataset_governance.near_duplicate_max_distance
    codes = made(kind, n, data)
    seconds, processor, pairs = [], [], np.zeros((0, 2), np.int64)
    for _ in range(rounds):
        start, busy = time.perf_counter(), time.process_time()
        pairs, _ = near_pairs(codes, SIZE, limit, threads=THREADS)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    planted = np.stack([np.arange(PLANTED), n - PLANTED + np.arange(PLANTED)], axis=1)
    distance = distances_of(codes, planted)
    hit = np.isin(planted[:, 0] * n + planted[:, 1], pairs[:, 0] * n + pairs[:, 1])
    recall = {}
    for low in range(0, limit + 1, _STEP):
        inside = (distance > low - (low == 0)) & (distance <= low + _STEP)
        if inside.any():
            recall[f"{low + (low > 0)} to {low + _STEP}"] = [int(hit[inside].sum()), int(inside.sum())]
    # what is within the limit and was not planted is real too: windows of one picture that overlap
    return {
        "kind": kind,
        "hashes": n,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "pairs": len(pairs),
        "recall": recall,
    }


def table(found: list[dict[str, Any]], about: dict[str, str], pictures: str) -> str:
    """Markdown."""
    lines = [
        "# Near pairs among many hashes",
        "",
        f"256-bit hashes under eight symmetries, contract distance, {TABLES} tables, {THREADS} threads; median of "
        f"{len(found[0]['seconds'])}. Pictures: {pictures}.",
        "",
        "| hashes | n | s (≤ 60) | best | processor s | largest memory, MB (≤ 4096) | pairs | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        median, best = statistics.median(one["seconds"]), min(one["seconds"])
        verdict = "met" if met(one) else "**not met**"
        lines.append(
            f"| {one['kind']} | {one['hashes']} | {median:.1f} | {best:.1f} | "
            f"{statistics.median(one['processor_seconds']):.1f} | {one['peak_mb']:.0f} | {one['pairs']} | {verdict} |"
        )
    lines += ["", "Planted copies found, by their true distance in bits:", ""]
    spans = list(dict.fromkeys(span for one in found for span in one["recall"]))
    lines += [f"| hashes | {' | '.join(spans)} |", "|---" * (len(spans) + 1) + "|"]
    for one in found:
        cells = [f"{a} of {b}" for a, b in (one["recall"].get(span, (0, 0)) for span in spans)]
        lines.append(f"| {one['kind']} | {' | '.join(cells)} |")
    lines += ["", "Machine: " + ", ".join(f"{name} {value}" for name, value in about.items()) + ".", ""]
    return "\n".join(lines)


def met(one: dict[str, Any]) -> bool:
    """Whether both promises are kept."""
    return statistics.median(one["seconds"]) <= MOST_SECONDS and one["peak_mb"] <= MOST_MEGABYTES


def main() -> int:
    """Command line; 1 when a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "default")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=KINDS, help="measure one kind in this process and print it")
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(measured(given.one, given.hashes, given.rounds, given.data)))
        return 0
    about, found = machine(), []
    for kind in KINDS:
        command = [sys.executable, "-m", __spec__.name, "--one", kind, "--hashes", str(given.hashes)]
        command += ["--rounds", str(given.rounds), *(["--data", str(given.data)] if given.data else [])]
        alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=alone)
        found.append(json.loads(done.stdout))
    text = table(found, about, "the labelled pictures" if given.data else "the golden set")
    write_text(given.out / "near_pairs_benchmarks.md", text)
    write_text(given.out / "near_pairs_benchmarks.json", json.dumps({"machine": about, "runs": found}, indent=1) + "\n")
    sys.stdout.write(text)
    return int(not all(met(one) for one in found))


if __name__ == "__main__":
    sys.exit(main())
