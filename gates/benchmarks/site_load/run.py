"""Load test of the site: speed, two workers against one, a storm of good and bad requests, slow connections.

``python -m gates.benchmarks.site_load.run [--out FOLDER]`` starts `ecdd serve` as it ships, sends bounded requests on
loopback and writes ``serving_benchmarks.json`` and ``.md``. Exit code 1 while a promise is missed. The machine should
be quiet: milliseconds are not corrected for others' load, which stands beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Final

from ecdd.bundle.loading import load_bundle
from ecdd.evidence.records import Operator
from ecdd.evidence.verdicts import judge_metric
from ecdd.files import write_text
from gates.benchmarks.running import machine
from gates.benchmarks.site_load.measuring import Row, latency, mixed, slow_loris, throughput
from gates.support.site_process import ROOT, SiteProcess

COMMAND: Final = "python -m gates.benchmarks.site_load.run"
LATENCY_REQUESTS: Final = 600
ROUNDS, ROUND_REQUESTS = 5, 200
MIXED, WARM_UP = 5000, 1000
SLOW, UPLOADS = 200, 50
_WORKERS: Final = 2
_CLIENT_SHARE: Final = 0.25  # cores that the client and a quiet system may take from the workers


def measure(request_timeout: float) -> Row:
    """Run every part against sites that are started for it."""
    with contextlib.ExitStack() as stack:
        two = SiteProcess("--jobs", "2")
        stack.callback(two.stop)
        asyncio.run(latency(two, 40))  # warm
        found = {"latency": asyncio.run(latency(two, LATENCY_REQUESTS))}
        one = SiteProcess("--jobs", "1")
        stack.callback(one.stop)
        found["throughput"] = asyncio.run(throughput(one, two, ROUNDS, ROUND_REQUESTS))
        found["slow"] = asyncio.run(slow_loris(two, SLOW, UPLOADS, request_timeout))
        found["mixed"] = asyncio.run(mixed(two, MIXED, WARM_UP))
    return found


def promises(found: Row) -> list[Row]:
    """Hold the numbers to what issue and README promise."""
    fast, storm, slow, pair = (found[name] for name in ("latency", "mixed", "slow", "throughput"))
    free = min(os.cpu_count() - run["client_cpu"] - run["others_cpu"] for run in pair["runs"]["2"])  # type: ignore[operator]
    needed = _WORKERS - _CLIENT_SHARE
    crowded = f"{free:.2f} cores were free of the client and of others; that needs {needed:g}"
    return [
        _promise("512x512 JPEG at 20 requests/s, p50, ms", fast["p50_ms"], "<=", 25.0),
        _promise("the same, p99, ms", fast["p99_ms"], "<=", 120.0),
        _promise("the same, requests not answered 200", fast["requests"] - fast["statuses"].get(200, 0), "==", 0.0),
        _promise("two workers / one, requests/s", pair["ratio"], ">=", 1.6, crowded if free < needed else ""),
        _promise("5000 mixed requests: 5xx other than deliberate 503", storm["server_errors"], "==", 0.0),
        _promise("the same, growth of resident memory, MB", storm["growth_mb"], "<=", 30.0),
        _promise("the same, worker processes that had to be replaced", storm["workers_replaced"], "==", 0.0),
        _promise("200 slow connections: uploads not answered 200", slow["uploads"] - slow["answered"], "==", 0.0),
        _promise("the same, connections open while uploading", slow["open_meanwhile"], "==", float(SLOW)),
        _promise("the same, last one cut after, s", slow["last_cut_s"], "<=", 2 * slow["request_timeout_s"]),
    ]


def _promise(metric: str, value: float, op: Operator, limit: float, not_tested: str = "") -> Row:
    verdict = judge_metric(float(value), op, limit, None)
    if verdict == "fail" and not_tested:
        verdict = "not tested"  # type: ignore[assignment]
    return {
        "metric": metric,
        "value": round(float(value), 3),
        "op": op,
        "limit": limit,
        "verdict": verdict,
        "why": not_tested,
    }


def table(result: Row) -> str:
    """Markdown of a result."""
    signs = {"<=": "≤", ">=": "≥", "==": "="}
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    lines = ["# Load test of the site", "", f"Bundle {result['bundle'][:16]}. Machine: {about}.", ""]
    lines += ["| what | target | measured | verdict |", "|---|---|---|---|"]
    for row in result["promises"]:
        shown = {"pass": "met", "fail": "**not met**"}.get(row["verdict"], f"not tested: {row['why']}")
        lines.append(f"| {row['metric']} | {signs[row['op']]} {row['limit']:g} | {row['value']:g} | {shown} |")
    lines += ["", _latency_text(result["latency"]), "", *_throughput_rows(result["throughput"]["runs"]), ""]
    lines += [_mixed_text(result["mixed"]), "", _slow_text(result["slow"]), ""]
    return "\n".join([*lines, f"Command: `make bench` (`{COMMAND}`).", ""])


def _latency_text(fast: Row) -> str:
    return (
        f"Latency runs from the moment a request was due, each on a new connection: p90 {fast['p90_ms']:.1f} ms, "
        f"largest {fast['max_ms']:.1f} ms. The pipeline inside the worker takes {fast['pipeline_p50_ms']:.1f} ms of "
        f"the median; a tenth of the requests spent {fast['around_p10_ms']:.1f} ms or less outside of it. Other "
        f"processes of the machine used {fast['others_cpu']:.2f} CPU a second meanwhile."
    )


def _throughput_rows(runs_by_workers: Row) -> list[str]:
    keys = ("client_cpu", "server_cpu", "workers_cpu", "others_cpu")
    lines = ["| workers | requests/s, each round | CPU a second: client | server | workers | other processes |"]
    lines.append("|---|---|---|---|---|---|")
    for name, runs in runs_by_workers.items():
        speeds = " ".join(f"{run['per_second']:.1f}" for run in runs)
        shares = [sum(run[key] for run in runs) / len(runs) for key in keys]
        lines.append(f"| {name} | {speeds} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return lines


def _mixed_text(storm: Row) -> str:
    statuses = ", ".join(f"{status}: {count}" for status, count in storm["statuses"].items())
    return (
        f"Mixed requests: {storm['requests']} after {WARM_UP} of warm-up, {storm['malformed']} malformed; answers by "
        f"status: {statuses}; deliberate 503: {storm['deliberate_503']}; closed without an answer: "
        f"{storm['unanswered']}. Resident memory of server and workers, MB: "
        f"{' '.join(f'{value:.0f}' for value in storm['resident_mb'])}."
    )


def _slow_text(slow: Row) -> str:
    return (
        f"Slow connections: while {slow['open_meanwhile']} dripped a byte a second, {slow['answered']} of "
        f"{slow['uploads']} uploads were answered, p50 {slow['upload_p50_ms']:.1f} ms, largest "
        f"{slow['upload_max_ms']:.1f} ms; the last slow one was cut after {slow['last_cut_s']:.1f} s (request_timeout "
        f"{slow['request_timeout_s']:g} s)."
    )


def main() -> int:
    """Command line; 1 when a promise is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "default", help="folder of serving_benchmarks.*")
    out = parser.parse_args().out
    bundle, about = load_bundle(), machine()
    found = measure(bundle.contract.policy.serving.request_timeout)
    result = {
        "bundle": bundle.payload_digest,
        "machine": about,
        "command": COMMAND,
        "promises": promises(found),
        **found,
    }
    write_text(out / "serving_benchmarks.json", json.dumps(result, indent=1) + "\n")
    write_text(out / "serving_benchmarks.md", table(result))
    sys.stdout.write(table(result))
    missed = [row for row in result["promises"] if row["verdict"] == "fail"]
    for row in missed:
        sys.stderr.write(f"fail: {row['metric']}: {row['value']}, promised {row['op']} {row['limit']:g}\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
