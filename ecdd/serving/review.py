"""``POST /v1/review``: a picture that a person agreed to have reviewed, sealed into the store of manual review."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ecdd.dataset_governance.review_error import ReviewError
from ecdd.dataset_governance.review_record import Consent
from ecdd.serving.problems import ServingError, busy
from ecdd.serving.upload import FileTooLarge
from ecdd.verdict import Verdict

if TYPE_CHECKING:
    from ecdd.dataset_governance.manual_review import ReviewStore
    from ecdd.serving.prediction import Predictions

STATEMENT: Final = "page consent 1"  # name and version of the text that the page shows
_STATUS: Final = {"already_stored": 409, "known_to_the_data": 409, "quota_full": 409}


class Reviews:
    """Stores pictures, each with consent and the verdict that it gets now.

    Parameters
    ----------
    predictions : Predictions
        Receives and judges, through the same limits.
    store : ReviewStore
        With a key.
    retention_days : int
        ``dataset_governance.review_retention_days``, for the receipt.
    """

    def __init__(self, predictions: Predictions, store: ReviewStore, retention_days: int) -> None:
        self._predictions, self._store, self._days = predictions, store, retention_days

    async def review(self, request: Request) -> Response:
        """Answer one request; without consent nothing is even received."""
        asked = request.query_params
        if asked.get("consent") != "given" or asked.get("statement", STATEMENT) != STATEMENT:
            what = f'Show the person the text "{STATEMENT}", and send consent=given only after they agreed.'
            raise ServingError(400, "no_consent", "consent is not given to the text of this site", what)
        try:
            upload, answer = await self._predictions.judged(request, full=False)
        except FileTooLarge as error:
            detail = f"more bytes than max_bytes allows ({error.received} received); nothing was stored"
            raise ServingError(413, "IO-003", detail, "Send the file that was judged.") from None
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if answer["verdict"]["outcome"] == "rejected":
            what = "Only pictures that could be decoded are reviewed."
            raise ServingError(422, "not_reviewable", "the file was rejected; nothing was stored", what)
        if answer["verdict"]["outcome"] == "error":
            raise busy("not_judged", "the picture was not judged, and so not stored")
        consent = Consent(given=True, statement=STATEMENT, at=datetime.datetime.now(datetime.UTC))
        verdict = Verdict.model_validate(answer["verdict"])
        try:
            item = await asyncio.to_thread(self._store.add, bytes(upload.data), verdict, consent)
        except ReviewError as error:
            status = _STATUS.get(error.code)
            if status is None:
                raise busy(error.code, "the store cannot take a picture now; nothing was stored", 60) from error
            raise ServingError(status, error.code, str(error), "Nothing more can be done here.") from None
        return JSONResponse({"item": item, "retention_days": self._days}, 201)
