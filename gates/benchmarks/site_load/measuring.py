"""The four parts of the load test. Each gives numbers; nothing here judges them."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from typing import Any, Final

import psutil

from gates.benchmarks.site_load.client import Message, addresses, send
from gates.benchmarks.site_load.pictures import mixed_messages, speed_message
from gates.support.site_process import SiteProcess

Row = dict[str, Any]

RATE: Final = 20.0  # requests a second
_CLIENTS = addresses()
_SLOW_HEAD: Final = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"


def processes(site: SiteProcess) -> list[psutil.Process]:
    """The server and its workers."""
    return [psutil.Process(site.process.pid), *site.workers()]


def _cpu(site: SiteProcess) -> list[float]:
    return [sum(one.cpu_times()[:2]) for one in processes(site)]


async def latency(site: SiteProcess, count: int) -> Row:
    """Send at a fixed rate, whether or not answers have come; time runs from the moment that was due."""
    what, times = speed_message(), []
    statuses: Counter[int] = Counter()
    pipeline: list[float] = []
    around: list[float] = []
    cpu, own, all_before = _cpu(site), time.process_time(), psutil.cpu_times()
    begin = time.perf_counter() + 0.1

    async def one(due: float) -> None:
        reply = await send(site.port, what, next(_CLIENTS))
        times.append(1e3 * (time.perf_counter() - due))
        statuses[reply.status] += 1
        if reply.status == 200:
            pipeline.append(json.loads(reply.body)["milliseconds"]["total"])
            around.append(times[-1] - pipeline[-1])

    async with asyncio.TaskGroup() as group:
        for index in range(count):
            due = begin + index / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    times.sort()
    spent = sum(_cpu(site)) - sum(cpu) + time.process_time() - own
    others = max(0.0, _busy(psutil.cpu_times()) - _busy(all_before) - spent)
    return {
        "requests": count,
        "rate": RATE,
        "statuses": dict(statuses),
        "p50_ms": statistics.median(times),
        "p90_ms": times[int(0.9 * count)],
        "p99_ms": times[min(count - 1, int(0.99 * count))],
        "max_ms": times[-1],
        "others_cpu": others / (time.perf_counter() - begin),
        "around_p10_ms": sorted(around)[len(around) // 10] if around else None,
        "pipeline_p50_ms": statistics.median(pipeline) if pipeline else None,
    }


async def closed_loop(site: SiteProcess, messages: list[Message], concurrency: int) -> list[tuple[Message, int, bytes]]:
    """Send all, ``concurrency`` at a time."""
    waiting, found = iter(messages), []

    async def client() -> None:
        for what in waiting:
            reply = await send(site.port, what, next(_CLIENTS))
            found.append((what, reply.status, reply.body if reply.status >= 500 else b""))

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return found


async def throughput(one: SiteProcess, two: SiteProcess, rounds: int, count: int) -> Row:
    """One worker against two in turns, both sites running all the time; CPU seconds beside the wall clock."""
    what = speed_message()
    runs: dict[str, list[Row]] = {"1": [], "2": []}
    for _ in range(rounds):
        for name, site in (("1", one), ("2", two)):
            cpu, own, start = _cpu(site), time.process_time(), time.perf_counter()
            all_before = psutil.cpu_times()
            found = await closed_loop(site, [what] * count, concurrency=6)
            wall = time.perf_counter() - start
            spent = [after - before for after, before in zip(_cpu(site), cpu, strict=True)]
            mine = time.process_time() - own
            busy = _busy(psutil.cpu_times()) - _busy(all_before)
            runs[name].append(
                {
                    "per_second": count / wall,
                    "answered": sum(status == 200 for _, status, _ in found),
                    "client_cpu": mine / wall,
                    "server_cpu": spent[0] / wall,
                    "workers_cpu": sum(spent[1:]) / wall,
                    "others_cpu": max(0.0, busy - sum(spent) - mine) / wall,
                }
            )
    middle = {name: statistics.median(run["per_second"] for run in found) for name, found in runs.items()}
    return {"runs": runs, "per_second": middle, "ratio": middle["2"] / middle["1"], "requests": count}


def _busy(times: Any) -> float:
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _resident(site: SiteProcess) -> float:
    return sum(one.memory_info().rss for one in processes(site)) / 2**20


async def mixed(site: SiteProcess, count: int, warm_up: int) -> Row:
    """Pictures of every kind and every third request malformed; memory after a warm-up against memory later."""
    await closed_loop(site, mixed_messages(warm_up, seed=7), concurrency=8)
    workers = [one.pid for one in site.workers()]
    resident = [_resident(site)]
    messages, found = mixed_messages(count), []
    step = count // 10
    for first in range(0, count, step):
        found += await closed_loop(site, messages[first : first + step], concurrency=8)
        resident.append(_resident(site))
    by_kind: Counter[str] = Counter(f"{what.name}: {status}" for what, status, _ in found)
    errors = [
        (what.name, status, body[:200].decode("utf-8", "replace")) for what, status, body in found if status >= 500
    ]
    deliberate = sum(status == 503 and b'"what_to_do"' in body for _, status, body in found)
    return {
        "requests": len(found),
        "malformed": sum(what.malformed for what, _, _ in found),
        "statuses": dict(sorted(Counter(str(status) for _, status, _ in found).items())),
        "unanswered": sum(status == 0 for _, status, _ in found),
        "malformed_answered_200": sum(status == 200 for what, status, _ in found if what.malformed),
        "by_kind": dict(sorted(by_kind.items())),
        "server_errors": len(errors) - deliberate,
        "deliberate_503": deliberate,
        "first_errors": errors[:5],
        "workers_replaced": len(set(workers) - {one.pid for one in site.workers()}),
        "resident_mb": resident,
        "growth_mb": max(resident) - resident[0],
    }


async def slow_loris(site: SiteProcess, connections: int, uploads: int, request_timeout: float) -> Row:
    """Hold connections that drip a byte a second, half in the head and half in the body; upload meanwhile."""
    held = [
        await asyncio.open_connection("127.0.0.1", site.port, local_addr=("127.2.0.2", 0)) for _ in range(connections)
    ]
    start = time.perf_counter()
    ended: list[float] = []

    async def drip(index: int) -> None:
        reader, writer = held[index]
        try:
            writer.write(_SLOW_HEAD[:20] if index % 2 else _SLOW_HEAD + b"Content-Length: 100000\r\n\r\n")
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                try:
                    await asyncio.wait_for(reader.read(65536), 1.0)
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        ended.append(time.perf_counter() - start)
        writer.close()

    drips = asyncio.gather(*(drip(index) for index in range(connections)))
    await asyncio.sleep(1.0)
    what, times, good, open_meanwhile = speed_message(), [], 0, connections
    for _ in range(uploads):
        begin = time.perf_counter()
        good += (await send(site.port, what, next(_CLIENTS))).status == 200
        times.append(1e3 * (time.perf_counter() - begin))
        open_meanwhile = min(open_meanwhile, connections - len(ended))
        await asyncio.sleep(0.05)
    await asyncio.wait_for(drips, 4 * request_timeout)
    return {
        "connections": connections,
        "open_meanwhile": open_meanwhile,
        "uploads": uploads,
        "answered": good,
        "upload_p50_ms": statistics.median(times),
        "upload_max_ms": max(times),
        "last_cut_s": max(ended),
        "request_timeout_s": request_timeout,
    }
