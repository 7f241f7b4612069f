"""Take the pictures of ``docs/images`` anew: page, report and heatmap, of the default bundle. Needs Chromium.

``python docs/pictures.py [--bundle BUNDLE] [--records reports/default]``, in a checkout.
"""

from __future__ import annotations

import argparse
import datetime
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ecdd import Detector, load_bundle  # noqa: E402
from ecdd.evidence.declarations import load_declared, load_expected  # noqa: E402
from ecdd.evidence.report import render  # noqa: E402
from ecdd.evidence.session import RunOptions  # noqa: E402
from ecdd.specification import EXPECTED, GATES, GOLDEN  # noqa: E402
from gates.support import site as sites  # noqa: E402
from gates.support.browser import browser_path, open_browser  # noqa: E402

IMAGES = ROOT / "docs" / "images"
FACE = GOLDEN / "in_scope" / "real_collins.png"
LARGEST = 300_000  # bytes
_WIDTH, _HEIGHT = 1000, 900


def keep(name: str, content: bytes) -> None:
    """Write a picture with 256 colours; one that is too large for a README is refused."""
    with Image.open(io.BytesIO(content)) as image:
        buffer = io.BytesIO()
        image.convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
    if buffer.tell() > LARGEST:
        raise SystemExit(f"{name}: {buffer.tell()} bytes; at most {LARGEST}")
    (IMAGES / name).write_bytes(buffer.getvalue())


def main() -> None:
    """Write ``page.png``, ``report.png`` and ``heatmap.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", help="the default bundle where not given")
    parser.add_argument("--records", type=Path, default=ROOT / "reports" / "default", help="folder of a run")
    given = parser.parse_args()
    bundle = load_bundle(given.bundle)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        viewport = {"width": _WIDTH, "height": _HEIGHT}
        with (
            sites.serve(bundle.path, bundle.contract, Path(folder)) as address,
            open_browser(browser_path()) as browser,
            sites.open_page(browser, address, reduced_motion="reduce", viewport=viewport) as watched,
        ):
            sites.upload(watched.page, FACE)
            watched.page.evaluate("scrollTo(0, 0)")
            keep("page.png", watched.page.screenshot(full_page=True))
            if watched.errors:
                raise SystemExit("\n".join(watched.errors))
        page = Path(folder) / "report.html"
        declared = load_declared(GATES / "declared.yaml")
        today = datetime.datetime.now(datetime.UTC).date()
        options = RunOptions(ROOT, None, None, GOLDEN, None, given.records.resolve(), EXPECTED, today)
        page.write_text(render(options, declared, load_expected(EXPECTED, declared)), "utf-8")
        with open_browser(browser_path()) as browser:
            opened = browser.new_page(viewport={"width": _WIDTH, "height": 1150})
            opened.goto(page.as_uri())
            keep("report.png", opened.screenshot())
    drawn = io.BytesIO()
    Detector.load(bundle).predict(FACE).heatmap().save(drawn, "PNG")
    keep("heatmap.png", drawn.getvalue())


if __name__ == "__main__":
    main()
