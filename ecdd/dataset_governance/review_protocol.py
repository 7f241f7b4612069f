"""The manual-review protocol: a document made from the contract, so that it cannot say anything else."""

from __future__ import annotations

import importlib.resources

from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.review_sealing import SCHEMA_VERSION


def review_protocol(contract: LoadedContract) -> str:
    """Write the protocol that reviewers and operators follow.

    Parameters
    ----------
    contract : LoadedContract
        Gives quotas, cycle, retention, encryption and failure reasons.

    Returns
    -------
    str
        Markdown.
    """
    import jinja2

    source = importlib.resources.files(__package__).joinpath("review_protocol.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    rules = contract.policy.dataset_governance
    return (
        environment.from_string(source).render(
            rules=rules, digest=contract.digest, total=sum(rules.review_quota.values()), schema=SCHEMA_VERSION
        )
        + "\n"
    )
