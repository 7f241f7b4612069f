"""``ecdd forgeries sheet``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, watched, write_json
from ecdd.specification import SPLIT

app = typer.Typer(help="Make forgeries and look at them.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Make forgeries and look at them."""


@app.command()
def sheet(
    generator: Annotated[str, typer.Option(help="Name of a generator.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Data manifest, or its folder; golden portraits where not given.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Forgeries to show.")] = 12,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Decides everything.")] = 0,
    contract: Annotated[Path | None, typer.Option(help="Policy contract; the default one where not given.")] = None,
    split: Annotated[Path, typer.Option(help="Lineage tags.", show_default="golden/data_split.csv")] = SPLIT,
    *,
    as_json: AsJson = False,
) -> None:
    """Draw a contact sheet: real, forged, mask, difference, and the cells that see the forgery.

    Only pictures tagged TRAIN are forged. A sheet of swaps shows real people: keep it to yourself.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.dataset_governance.manifest import load_manifest, manifest_path
    from ecdd.dataset_governance.usable_faces import usable_faces
    from ecdd.files import check_output, write_output
    from ecdd.golden.golden_sets import load_golden
    from ecdd.pipeline.face_detectors import load_detector
    from ecdd.training.forgeries.contact_sheet import draw_sheet, golden_forgeries
    from ecdd.training.forgeries.forging import as_png, forge_part
    from ecdd.training.forgeries.registry import find_generator

    inputs = [path for path in (contract, split) if path is not None]
    check_output(out, inputs)
    about = find_generator(generator).about
    loaded = load_contract(contract)
    detector = load_detector(loaded.policy.face_detector)
    if data is None:
        outcomes = golden_forgeries(load_golden(), generator, seed, loaded.policy, detector)
    else:
        listed = load_manifest(data)
        inputs += [manifest_path(data), *(row.path for row in listed)]
        check_output(out, inputs)
        rows = usable_faces(listed, load_split(split), [LineageTag.TRAIN])
        outcomes = forge_part(rows, generator, seed, loaded)
    drawn = draw_sheet(
        watched(outcomes, count, generator),
        count,
        loaded.policy,
        detector,
        f"{generator}: {about}; seed {seed}",
    )
    write_output(out, as_png(drawn.image), inputs=inputs)
    reasons = ", ".join(f"{reason} {n}" for reason, n in drawn.refused.items()) or "none"
    echo(f"{out}: {drawn.rows} forgeries; not forged: {reasons}")
    if as_json:
        write_json({"sheet": str(out), "forgeries": drawn.rows, "not_forged": dict(drawn.refused)})
