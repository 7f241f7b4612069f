"""Errors of the site as RFC 9457 problems: what happened and what to do; never a trace, a path or a file name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from ecdd.errors import EcddError

MEDIA_TYPE: Final = "application/problem+json"


@dataclass
class ServingError(EcddError):
    """A request that is refused, or could not be answered.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        Stable name of the error, for programs.
    detail : str
        What is wrong, with value and limit.
    what_to_do : str
        The client's next step.
    headers : mapping of str to str
        Further headers, for example ``Retry-After`` (seconds).
    """

    status: int
    code: str
    detail: str
    what_to_do: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Serialise as ``application/problem+json``."""
        return json.dumps(self.content()).encode()

    def content(self) -> dict[str, Any]:
        """List the members of the problem."""
        return {
            "type": f"urn:ecdd:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "what_to_do": self.what_to_do,
        }


def busy(code: str, detail: str, seconds: int = 1) -> ServingError:
    """Refuse for now: 503 with ``Retry-After`` in seconds."""
    return ServingError(503, code, detail, f"Send it again in {seconds} s.", {"retry-after": str(seconds)})
