"""Waivers: a claim that did not run is let through by a named person, for a reason, until a day."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecdd.errors import EcddError
from ecdd.files import read_yaml


class WaiverError(EcddError):
    """A file of waivers cannot be used."""


class Waiver(BaseModel):
    """One exception from what a release asks.

    Attributes
    ----------
    id : str
        Experiment that is claimed and did not run. A red experiment cannot be waived.
    reason, owner : str
        Why, and who answers for it.
    expiry : date
        Last day on which it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^E\d\.\d+$")]
    reason: Annotated[str, Field(min_length=10)]
    owner: Annotated[str, Field(min_length=2)]
    expiry: datetime.date


def load_waivers(path: Path) -> list[Waiver]:
    """Read a YAML list of waivers.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Waiver
        In the file's order.

    Raises
    ------
    WaiverError
        Not readable, a field missing, unknown or empty, or an id twice.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise WaiverError(f"{path}: cannot be read: {error.strerror}") from None
    except EcddError as error:
        raise WaiverError(str(error)) from None
    if not isinstance(content, list):
        raise WaiverError(f"{path}: must be a list of waivers, each with id, reason, owner and expiry")
    found = []
    for number, entry in enumerate(content, start=1):
        try:
            found.append(Waiver.model_validate(entry))
        except ValidationError as error:
            texts = [f"{'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors()]
            raise WaiverError(f"{path}: waiver {number}: {'; '.join(texts)}") from None
    ids = [waiver.id for waiver in found]
    if twice := sorted({key for key in ids if ids.count(key) > 1}):
        raise WaiverError(f"{path}: {', '.join(twice)} is waived twice; keep one")
    return found


def judge_waivers(
    waivers: Sequence[Waiver], not_run: Sequence[str], as_of: datetime.date, red: Mapping[str, str], most: int
) -> tuple[list[Waiver], list[str]]:
    """Hold waivers against the claims that did not run.

    Parameters
    ----------
    waivers : sequence of Waiver
        As loaded.
    not_run : sequence of str
        Claimed experiments without a record, or with nothing tested.
    as_of : date
        The day of the release.
    red : mapping of str to str
        Experiments that are known to be red for this payload, with where that is known from.
    most : int
        How many waivers the contract allows.

    Returns
    -------
    (list of Waiver, list of str)
        Waivers that count, and reasons to refuse: one that is expired, that matches no claim that did not run or one
        that was measured red, and more than the contract allows.
    """
    counting, refused = [], []
    for waiver in waivers:
        if waiver.expiry < as_of:
            refused.append(
                f"waiver of {waiver.id} expired on {waiver.expiry} (owner {waiver.owner}): run it or renew it"
            )
        elif waiver.id in red:
            refused.append(f"waiver of {waiver.id}: known red for this payload ({red[waiver.id]}); a red stays a red")
        elif waiver.id not in not_run:
            refused.append(f"waiver of {waiver.id} matches no claim that did not run: remove it")
        else:
            counting.append(waiver)
    if len(counting) > most:
        refused.append(f"{len(counting)} waivers; release.max_waivers of the contract allows {most}: run the others")
    return counting, refused
