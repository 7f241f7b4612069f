"""``ecdd judge``: stored evidence, checked and held to a contract without inference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError, ListedError


def judge(
    folder: Annotated[Path, typer.Argument(help="Folder of a run: phase*_results, index.json, evidence.jsonl.")],
    contract: Annotated[
        Path | None, typer.Option(help="Contract whose limits to judge by; without it the stored limits stand.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check that no record was edited and judge the stored metrics again by a contract's limits.

    Exit code 1 where any verdict is not pass, 2 where a record was edited.

    Only limits can be judged again. Keys that change pixels, thresholds or the model need a run, and are named.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.evidence.edits import find_edits
    from ecdd.evidence.merging import read_records
    from ecdd.evidence.rejudging import rejudge
    from ecdd.evidence.verdicts import judge_record

    if not (folder / "index.json").is_file():
        raise EcddError(f"{folder}: no index.json; give the folder of a run, for example reports/default")
    edits = find_edits(folder)
    if edits:
        raise ListedError(["refused: the evidence is not as the run wrote it", *edits])
    records = read_records(folder)
    after = {key: judge_record(record) for key, record in records.items()}
    said: list[str] = []
    if contract is not None:
        loaded = load_contract(contract)
        found = rejudge(records, loaded)
        after = dict(found.after)
        said += found.moved
        if any(record.identity.contract_digest != loaded.digest for record in records.values()):
            said.append(
                f"judged by contract {loaded.digest[:16]}; changed keys other than limits need a run of the gates"
            )
    good = sum(verdict == "pass" for verdict in after.values())
    if as_json:
        verdicts = {key: {"verdict": verdict, "stored": records[key].verdict} for key, verdict in after.items()}
        write_json({"verdicts": verdicts, "passed": good, "of": len(after), "moved": said})
        raise typer.Exit(int(good < len(after) or not after))
    for line in said:
        echo(line)
    for key, verdict in after.items():
        was = records[key].verdict
        echo(f"{key}  {verdict.upper()}" + (f" (was {was})" if was != verdict else ""))
    echo(f"{good} of {len(after)} experiments pass")
    raise typer.Exit(int(good < len(after) or not after))
