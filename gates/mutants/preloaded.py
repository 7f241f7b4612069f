"""Imported once by the process that mutants fork from: third-party libraries only.

Nothing of this project may be imported here: a defect is planted before the project's modules are read.
"""

import contextlib
import importlib

LIBRARIES = (
    "numpy", "PIL.Image", "PIL.ImageCms", "yaml", "pydantic", "pytest", "syrupy", "hypothesis", "scipy.stats",
    "scipy.optimize", "scipy.ndimage", "sklearn.metrics", "sklearn.linear_model", "cv2", "matplotlib.pyplot",
    "ai_edge_litert.interpreter", "onnxruntime", "imagehash", "jinja2", "torch", "typer", "rich.console",
)  # fmt: skip

for _name in LIBRARIES:
    with contextlib.suppress(ImportError):  # an extra that is not installed; the tests that need it say so
        importlib.import_module(_name)
