"""Root of the test run: everything lives in the plugin."""

import os

# Runs share the machine: workers of xdist, sites, processes of planted defects. Threads that one of them keeps spinning
# for its next product of matrices take the others' time, up to twenty times what a small fit needs by itself.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["ecdd.evidence.pytest_plugin"]
