"""How a test says that it measured nothing: raise one of these; the plugin notes it in the record.

A clause that nobody could measure in this run is *not tested*. A clause that a contract rules out is *not applicable*.
Neither is ever *passed*.
"""

from __future__ import annotations


class Unmeasured(Exception):  # noqa: N818 - a statement about a clause, not an error
    """Base of both; raised by a test or by a fixture that it asks for, it ends the test without failing it."""


class NotTested(Unmeasured):
    """Not measurable in this run, with what it has and where it runs.

    Parameters
    ----------
    what : str
        What was not measured.
    why : str
        What is missing, so that a reader knows what would make it testable.

    Examples
    --------
    >>> raise NotTested("leak on labelled pictures", "needs --data")
    Traceback (most recent call last):
        ...
    ecdd.evidence.unmeasured.NotTested: leak on labelled pictures: needs --data
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what, self.why = what, why


class NotApplicable(Unmeasured):
    """A model under this contract cannot have it.

    Parameters
    ----------
    what : str
        What there is nothing of.
    knob : str
        Key of the contract whose value says so, for example ``"face_detector.alignment"``. A release accepts it only
        where `ecdd.evidence.applicability` knows that this value rules it out.
    """

    def __init__(self, what: str, knob: str) -> None:
        super().__init__(f"{what}: not applicable by {knob}")
        self.what, self.knob = what, knob
