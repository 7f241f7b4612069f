"""Writing the approving report into a bundle, and reading a released bundle back."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

from ecdd.bundle import Bundle
from ecdd.errors import EcddError
from ecdd.evidence.head import RunEntry
from ecdd.files import write_bytes
from ecdd.release.approval import Decision
from ecdd.release.signing import SIGNATURE, sign, verify

REPORT: Final = "release/approval.json"
PAGE: Final = "release/approval.md"


class ReleaseError(EcddError):
    """A released bundle is not as it was approved."""


def release(bundle: Bundle, decision: Decision, key: Path | None) -> None:
    """Write the approving report into the bundle and sign all of it.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    decision : Decision
        Must be an approval.
    key : Path or None
        Private key; None leaves the bundle unsigned.

    Raises
    ------
    ReleaseError
        The decision is a refusal.
    SigningError
        The key does not work; no report is left behind then.
    """
    if not decision.approved:
        raise ReleaseError(f"{bundle.path}: refused for {len(decision.reasons)} reasons; nothing is written")
    text = json.dumps(decision.summary(), indent=1, sort_keys=True, ensure_ascii=True) + "\n"
    folder = bundle.path / "release"
    (bundle.path / SIGNATURE).unlink(missing_ok=True)
    write_bytes(bundle.path / REPORT, text.encode())
    write_bytes(bundle.path / PAGE, page(decision, hashlib.sha256(text.encode()).hexdigest()).encode())
    if key is not None:
        try:
            sign(bundle.path, key)
        except BaseException:
            for name in (REPORT, PAGE):
                (bundle.path / name).unlink(missing_ok=True)
            if not any(folder.iterdir()):
                shutil.rmtree(folder)
            raise


def check_released(bundle: Bundle, public: Path | None) -> str:
    """Check what a bundle says of its release.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    public : Path or None
        Public key; with one, a bundle without a valid signature is refused.

    Returns
    -------
    str
        One line for a person.

    Raises
    ------
    ReleaseError
        The report is damaged, or approves another payload or contract.
    SigningError
        The signature is missing or does not hold.
    """
    path, kind = bundle.path / REPORT, ""
    if path.is_file():
        try:
            content = path.read_bytes()
            said = json.loads(content)
            cited = (said["verdict"], said["payload_digest"], said["contract_digest"])
            # a report from before attestations has no title: its evidence is the applicant's word
            kind = str(said.get("title", "Release approved, self-attested")).removeprefix("Release approved")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise ReleaseError(f"{path}: not an approving report") from None
        if cited != ("approved", bundle.payload_digest, bundle.contract.digest):
            raise ReleaseError(f"{path}: approves another payload or contract than this bundle's; release it again")
        try:
            cites = hashlib.sha256(content).hexdigest() in (bundle.path / PAGE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReleaseError(f"{bundle.path / PAGE}: cannot be read: {type(error).__name__}") from None
        if not cites:
            raise ReleaseError(f"{path}: is not the report that {PAGE} cites")
    elif public is None:
        return "not released: no approving report"
    if public is not None:
        verify(bundle.path, public)
        return f"released and signed{kind}; the signature holds under {public.name}"
    signed = (bundle.path / SIGNATURE).is_file()
    return f"released{kind}; its signature was not checked: give --public-key" if signed else f"released{kind} UNSIGNED"


def page(decision: Decision, digest: str) -> str:
    """Write page one for a person: verdict, who ran what and when, limits, claims, what is not claimed, waivers."""
    lines = [f"# {decision.title}", ""]
    lines += [f"- payload `{decision.payload_digest}`", f"- contract `{decision.contract_digest}`"]
    lines += [f"- as of {decision.as_of}", f"- report `{REPORT}`, SHA-256 `{digest}`"]
    who = f"the runner with key `{decision.attested_by}`" if decision.attested_by else "nobody but the applicant"
    lines += [f"- evidence attested by {who}", ""]
    lines += ["## Never tested on", "", *(f"- {text}" for text in decision.never_tested_on), ""]
    if decision.looser:
        lines += ["## Limits looser than the shipped ones", ""]
        lines += [f"- {key}: {value}, shipped {shipped}" for key, value, shipped in decision.looser] + [""]
    lines += ["## Claimed and passed", ""]
    lines += [f"- {key} {decision.records[key].title}" for key in decision.supported]
    untested = [(key, entry) for key in decision.supported for entry in decision.records[key].not_tested]
    if untested:
        lines += ["", "## Not tested in what passed", ""]
        lines += dict.fromkeys(f"- {key} {entry.what}: {entry.why}" for key, entry in untested)
    if decision.not_applicable:
        lines += ["", "## Not applicable by contract", "", *(f"- {text}" for text in decision.not_applicable)]
    lines += ["", "## Not claimed", "", *(f"- {text}" for text in decision.not_claimed), "", "## Waived", ""]
    lines += [f"- {w.id}: {w.reason} (owner {w.owner}, until {w.expiry})" for w in decision.waived] or ["- nothing"]
    lines += ["", "## Runs", "", *(line for run in decision.runs for line in _run_lines(run))]
    lines += ["", "## Limits", "", *(f"- {key}: {value}" for key, value in decision.limits.items())]
    return "\n".join(lines) + "\n"


def _run_lines(run: RunEntry) -> list[str]:
    identity, counts = run.identity, ", ".join(f"{number} {outcome}" for outcome, number in run.counts.items())
    plugins = ", ".join(dict.fromkeys(run.plugins.values())) or "none"
    return [
        f"- run `{run.run}`, ended {run.ended}, as of {identity.as_of}: {counts}",
        f"  - golden set `{identity.golden_digest}`, its stages `{identity.stages_digest}`",
        f"  - gates' code `{identity.gates_digest}`, declarations `{identity.declared_digest}`",
        f"  - data {f'`{identity.data_digest}`' if identity.data_digest else 'none'}; plugins: {plugins}",
    ]
