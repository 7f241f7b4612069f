"""Worker processes: two pools at once."""

from __future__ import annotations

import subprocess
import sys

from gates.support.command_calls import ROOT

# the workers of the second pool hold copies of the first one's pipes
TWO_POOLS = """
from ecdd.worker_pool import Pool

class Doubling:
    def load(self): return 2
    def judge(self, loaded, item): return loaded * item
    def died(self, item, exitcode): return -1

pools = [Pool(range(5), Doubling(), jobs, fork=True) for jobs in (1, 2)]
print(*zip(*(pool.run() for pool in pools), strict=True))
"""


def test_two_pools_side_by_side_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_POOLS], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "(0, 0) (2, 2) (4, 4) (6, 6) (8, 8)\n"
