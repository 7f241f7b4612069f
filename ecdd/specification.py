"""Where the specification stands: clauses, golden set, contract, training recipes and declarations.

In a checkout these are folders beside the package. A wheel holds the same folders in ``ecdd/_specification``, so that
the gates run from an installation, too. Every path into them begins here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
_INSTALLED: Final = PACKAGE / "_specification"
# the folder that holds gates/, golden/, contracts/ and configs/
ROOT: Final = _INSTALLED if _INSTALLED.is_dir() else PACKAGE.parent
GOLDEN: Final = ROOT / "golden"
SPLIT: Final = GOLDEN / "data_split.csv"
CONTRACT: Final = ROOT / "contracts" / "policy_contract.yaml"
TINY_CONTRACT: Final = PACKAGE / "bundles" / "tiny" / "policy_contract.yaml"  # of Tiny-LaDeDa and its teacher
CONFIGS: Final = ROOT / "configs"
GATES: Final = ROOT / "gates"
EXPECTED: Final = GATES / "expected_verdicts.yaml"
