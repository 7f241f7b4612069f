"""Imported once by the process that others fork from: third-party libraries only.

Nothing of this project may be imported here: a defect is planted before the project's modules are read.
"""

import contextlib
import gc
import importlib
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the root's conftest.py, also for `ecdd mutants`
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LIBRARIES = (
    "numpy", "PIL.Image", "PIL.ImageCms", "yaml", "pydantic", "pytest", "syrupy", "hypothesis", "scipy.stats",
    "scipy.optimize", "scipy.ndimage", "sklearn.metrics", "sklearn.linear_model", "cv2", "matplotlib.pyplot",
    "ai_edge_litert.interpreter", "onnxruntime", "imagehash", "jinja2", "torch", "typer", "rich.console",
)  # fmt: skip

for _name in LIBRARIES:
    with contextlib.suppress(ImportError):  # an extra that is not installed; the tests that need it say so
        importlib.import_module(_name)

gc.freeze()  # what is loaded here is never garbage; else every collection of every run would walk all of it
