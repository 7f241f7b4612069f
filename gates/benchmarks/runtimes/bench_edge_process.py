"""A fresh process that imports, loads the shipped model and predicts once, on one thread."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from ecdd.bundle.manifest import MODEL_FILE
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.support.processes import Finished, keeping_compiled, launch

# promised: peak memory of the whole process, and time beyond that of an interpreter that does nothing
MOST_MEGABYTES, MOST_SECONDS = 70.0, 0.3
ROUNDS = 15
SCRIPT = Path(__file__).with_name("edge_process.py")


def test_edge_process(benchmark: Any, bundle: Any, golden: Any, frozen: Any, policy: Any, tmp_path: Path) -> None:
    """An empty interpreter, LiteRT alone and our runtime, one after the other in every round."""
    item = next(item for item in golden.by_set("in_scope") if frozen.picture(item.id) and frozen.picture(item.id).faces)
    tensor = normalise(frozen.picture(item.id).faces[0].s3, policy.pixel_pipeline)[None]
    np.save(tmp_path / "s4.npy", tensor)
    model, digest = bundle.file(MODEL_FILE), bundle.manifest.files[MODEL_FILE].sha256
    given = [str(model), digest, str(tmp_path / "s4.npy")]
    expected = float(TFLiteRuntime(bundle.read(MODEL_FILE)).patch_map(tensor).mean(dtype=np.float64))
    environment = keeping_compiled(tmp_path / "compiled") | {"OMP_NUM_THREADS": "1"}
    ways = {"interpreter": ["-c", "pass"], **{way: [str(SCRIPT), way, *given] for way in ("litert", "ours")}}
    done: dict[str, list[Finished]] = {way: [] for way in ways}

    def alternate() -> None:
        for way, arguments in ways.items():
            done[way].append(launch(arguments, environment))

    benchmark.pedantic(alternate, rounds=ROUNDS, warmup_rounds=1)
    kept = {way: runs[1:] for way, runs in done.items()}  # the first compiled the modules
    assert all(float(run.output) == expected for way in ("litert", "ours") for run in kept[way])
    beyond = {
        way: [run.seconds - bare.seconds for run, bare in zip(kept[way], kept["interpreter"], strict=True)]
        for way in ("litert", "ours")
    }
    megabytes = max(run.megabytes for run in kept["ours"])
    median = statistics.median(beyond["ours"])
    benchmark.extra_info.update(
        {
            "interpreter_seconds": _two([run.seconds for run in kept["interpreter"]]),
            "seconds_beyond_interpreter": {way: _two(values) for way, values in beyond.items()},
            "peak_megabytes": {way: round(max(run.megabytes for run in runs), 1) for way, runs in kept.items()},
            "ours_over_litert_alone": round(median / statistics.median(beyond["litert"]), 3),
            "promised": {"megabytes": MOST_MEGABYTES, "seconds_beyond_interpreter": MOST_SECONDS},
        }
    )
    assert megabytes <= MOST_MEGABYTES, f"{megabytes:.1f} MB, promised are {MOST_MEGABYTES:g}"
    assert median <= MOST_SECONDS, f"median {median:.3f} s beyond the interpreter, promised are {MOST_SECONDS:g}"


def _two(seconds: list[float]) -> dict[str, float]:
    return {"min": round(min(seconds), 4), "median": round(statistics.median(seconds), 4)}
