"""Rewrite the manifest of a bundle after golden outputs changed: ``python -m ecdd.export.rebundle [BUNDLE]``.

After the contract's gates or the model changed, thresholds must be fitted anew: ``ecdd calibrate --data MANIFEST``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ecdd.bundle import BundleError, default_bundle_path
from ecdd.export.artifact_manifest import refresh_manifest


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=default_bundle_path())
    options = parser.parse_args()
    try:
        sys.stdout.write(f"payload digest {refresh_manifest(options.bundle)}\n")
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
