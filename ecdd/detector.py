"""From a picture to a verdict: the parts of the pipeline and of the inference, composed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecdd import __version__
from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.contract.contract_error import ContractError, Problem
from ecdd.contract.loading import LoadedContract, check_reason_codes, load_contract
from ecdd.inference.calibration import AppliedCalibration
from ecdd.inference.decision import Decision, decide
from ecdd.inference.stages import JudgedFace, ModelOutputError, judge
from ecdd.pipeline.decode import decoder_fingerprint, frozen_decoder, other_libraries
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.picture_input import Picture, checked, path_of, portable, read_source, refuse_single
from ecdd.pipeline.preprocess import check_tensor
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.stages import PreparedFace, PreparedPicture, prepare, prepare_given
from ecdd.runtimes.registry import RuntimeName, load_runtime
from ecdd.runtimes.tflite import wants_xnnpack
from ecdd.tracing import StageRecord
from ecdd.verdict import DetectorSummary, FaceVerdict, Verdict
from ecdd.worker_pool import Pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECTIONS_OF_EVIDENCE = ("pixel_pipeline", "face_detector", "patch_grid", "pooling")


class Detector:
    """A bundle, loaded and warm. Make one with `Detector.load`, and keep it.

    Threads may share a detector: decoding and each of the two networks serve one of them at a time, so that threads
    gain little. `predict_many` with ``jobs`` uses processes. Loading takes about half a second, a picture some 20 to
    100 ms on one core, most of it decoding; a detector and its libraries hold some 120 MB.

    Parameters
    ----------
    bundle : Bundle
        Model, calibration and contract.
    contract : LoadedContract
        The bundle's, or one that overrides it.
    runtime : str
        Key of `ecdd.runtimes.registry.RUNTIMES`: which file of the bundle computes.

    Attributes
    ----------
    calibration : AppliedCalibration
        The bundle's, from pooled to calibrated logit.
    model_calls : int
        Faces sent to the model so far.
    outcomes : dict of str to int
        Pictures so far by outcome; errors are counted on their own.

    Examples
    --------
    >>> from ecdd import Detector
    >>> detector = Detector.load("tiny")
    >>> detector.predict(b"no picture").reason_codes
    ('IO-002',)
    >>> [verdict.label for verdict in detector.predict_many([b"", "missing.jpg"])]
    ['abstain', 'abstain']
    >>> detector.predict(42)
    Traceback (most recent call last):
    ...
    TypeError: a picture is a path, bytes, a binary file, an image of Pillow or an array, not int
    """

    def __init__(self, bundle: Bundle, contract: LoadedContract, runtime: RuntimeName = "tflite") -> None:
        check_reason_codes(contract, {code.name.lower(): code.value for code in ReasonCode})
        _refuse_undecidable(contract)
        self.bundle, self.contract, self.policy = bundle, contract, contract.policy
        settings = self.policy.runtime
        self.face_backend = load_detector(self.policy.face_detector, threads=settings.threads)
        self.runtime = load_runtime(bundle, runtime, settings.threads, xnnpack=wants_xnnpack(settings.delegate))
        self.calibration = AppliedCalibration.of(bundle.calibration)
        self._runtime_name, self._counting = runtime, threading.Lock()
        self.model_calls = 0
        self.outcomes: dict[str, int] = {}
        self._identity = DetectorSummary(**vars(self.face_backend.identity()))
        decoder = decoder_fingerprint()
        self._warnings = (
            *_decoder_warnings(decoder, self.policy.pixel_pipeline.decoder_version),
            *_override_warnings(bundle.contract, contract),
        )
        self._versions = {"ecdd": __version__, "numpy": np.__version__, **decoder}
        self._versions["runtime"] = str(self.runtime.describe()["library"])

    @classmethod
    def load(
        cls,
        bundle: Path | str | Bundle | None = None,
        contract: Path | str | LoadedContract | None = None,
        runtime: RuntimeName = "tflite",
    ) -> Detector:
        """Load and check a bundle, and make its detector.

        Parameters
        ----------
        bundle : path, str or Bundle, optional
            A folder, or the name of a bundle that ships with the package (``"lite"``, ``"tiny"``); the default bundle
            where not given.
        contract : path or LoadedContract, optional
            Overrides the bundle's contract; the verdicts then warn that no evidence covers the pair.
        runtime : str
            Key of `ecdd.runtimes.registry.RUNTIMES`: which file of the bundle computes.

        Returns
        -------
        Detector
            Ready to predict.

        Raises
        ------
        BundleError, ContractError, DetectorError
            When a part cannot be trusted.
        """
        loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        if contract is None:
            chosen = loaded.contract
        else:
            chosen = contract if isinstance(contract, LoadedContract) else load_contract(contract)
        return cls(loaded, chosen, runtime)

    def predict(self, source: Picture, name: str | None = None) -> Verdict:
        """Judge one picture. A bad picture never raises: its verdict abstains, with reason codes.

        Parameters
        ----------
        source : str, path-like, bytes, binary file, PIL.Image.Image or ndarray
            Where the file is, its content, or pixels: an array of shape (H, W, 3), uint8, RGB. Pixels have no file
            (``pixels_given`` in the verdict's notes), and how they were compressed before is unknown.
        name : str, optional
            File name for the verdict and for noticing disguised files; the path's own by default.

        Returns
        -------
        Verdict
            Label, probability, reason codes and what led to them. It keeps the deciding face for its heatmap.

        Raises
        ------
        TypeError
            What was given is no picture by its type.
        """
        return self.verdict(source, name, keep=True)

    def predict_many(self, sources: Iterable[Picture], *, jobs: int = 1, heatmaps: bool = False) -> Iterator[Verdict]:
        """Judge pictures one after the other; none stops the others.

        Parameters
        ----------
        sources : iterable
            What `predict` takes; read as it is needed, so that it may be endless.
        jobs : int
            Worker processes, each with a detector of its own; they live as long as the iterator. With 1 this process
            does the work. A picture that ends its worker costs its own verdict alone (``error``, ``SY-001``).
        heatmaps : bool
            Whether verdicts keep the deciding face, 0.2 MB each.

        Yields
        ------
        Verdict
            In the order of the sources. What is no picture by its type is ``rejected`` with ``IO-010``.

        Raises
        ------
        TypeError
            One picture was given instead of many.
        ValueError
            ``jobs`` is below 1.
        EcddError
            Processes cannot be started.
        """
        refuse_single(sources)
        if jobs < 1:
            raise ValueError(f"jobs is {jobs}; 1 or more are needed")
        work = _Many(self.bundle, self.contract, self._runtime_name, self._unseen(), heatmaps)
        if jobs == 1:
            return (work.judge(self, source) for source in sources)
        return Pool(map(work.sent, sources), work, jobs, fork=False).run()

    def verdict(self, source: Picture, name: str | None = None, *, keep: bool = False) -> Verdict:
        """As `predict`; ``keep`` says whether the verdict keeps the deciding face for its heatmap."""
        source = checked(source)
        record = self.examine(source, name)
        made = self.summarise(record, path_of(source) if name is None else name)
        face = made.deciding_face
        if not keep or face is None or face not in record.judged or record.prepared is None:
            return made
        from ecdd.heatmap import Drawing  # fonts and all, which most commands do not draw with

        return made.keep(Drawing(record.prepared.faces[face].s3, record.judged[face].patch_map, self.policy))

    def _unseen(self) -> Verdict:
        """Verdict on nothing: what all verdicts of this detector share."""
        return self.summarise(StageRecord(self.policy, outcome="error"), "")

    def examine(self, source: Picture, name: str | None = None) -> StageRecord:
        """Compute S0 to S8 of one picture and keep all of it; never raises for a bad picture."""
        start = time.perf_counter()
        record = StageRecord(self.policy)
        try:
            self._examine(source, name, record)
        except Rejected as rejected:
            pixels = ReasonCode.PIXEL_INVARIANT in rejected.codes
            _fail(record, "error" if pixels else "rejected", tuple(rejected.codes), rejected.detail)
        except ModelOutputError as error:
            _fail(record, "error", (ReasonCode.MODEL_OUTPUT_INVALID,), str(error))
        except Exception as error:  # noqa: BLE001 - one bad picture must not stop the others; it is counted as an error
            _fail(record, "error", (ReasonCode.INTERNAL_ERROR,), f"{type(error).__name__}: {error}"[:300])
        record.milliseconds["total"] = 1e3 * (time.perf_counter() - start)
        with self._counting:
            self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        return record

    def _examine(self, source: Picture, name: str | None, record: StageRecord) -> None:
        content = read_source(source, self.policy.pixel_pipeline)
        if isinstance(content, bytes):
            named = Path(path_of(source)).name if name is None else name
            prepared = prepare(content, self.policy, self.face_backend, name=named or None)
        else:
            prepared = prepare_given(content, self.policy, self.face_backend)
        record.prepared = prepared
        record.milliseconds.update(prepared.milliseconds)
        if prepared.judgeable:
            record.judged = self._judge(prepared, record.milliseconds)
        if prepared.reason_codes:
            record.decision = Decision("abstain", tuple(sorted(prepared.reason_codes)), None)
        else:
            probabilities = {index: face.probability for index, face in record.judged.items()}
            gates, point = self.policy.quality_gates, self.policy.operating_point
            record.decision = decide(probabilities, prepared.counting_codes, gates, point)
        record.outcome = "abstained" if record.decision.label == "abstain" else "judged"
        record.detail = "; ".join(ReasonCode(code).meaning for code in record.decision.reason_codes)

    def _judge(self, prepared: PreparedPicture, milliseconds: dict[str, float]) -> dict[int, JudgedFace]:
        batch = prepared.batch(self.policy.pixel_pipeline)
        milliseconds.update(prepared.milliseconds)
        start = time.perf_counter()
        check_tensor(batch, self.policy.pixel_pipeline)
        with self._counting:
            self.model_calls += len(batch)
        judged = self.judge_tensors(batch)
        milliseconds["model"] = 1e3 * (time.perf_counter() - start)
        return dict(zip(prepared.judgeable, judged, strict=True))

    def judge_tensors(self, batch: NDArray[np.float32]) -> list[JudgedFace]:
        """Compute S5 to S7 of faces, given as S4: shape (N, S, S, 3), float32.

        Raises
        ------
        ModelOutputError
            The model's output has another shape or dtype, or is not finite.
        """
        found = self.runtime.outputs(batch)
        return judge(found, len(batch), self.policy.patch_grid, self.policy.pooling, self.calibration)

    def summarise(self, record: StageRecord, path: str) -> Verdict:
        """Verdict of a record, without its arrays."""
        prepared, decision, face = record.prepared, record.decision, record.decision.deciding_face
        deciding = None if face is None else record.judged.get(face)
        abstains = decision.label == "abstain"
        point = self.policy.operating_point
        return Verdict(
            path=path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            label=decision.label,
            outcome=record.outcome,
            probability=None if deciding is None else deciding.probability,
            logit=None if deciding is None else deciding.pooled_logit,
            thresholds={"t_real": point.t_real, "t_fake": point.t_fake},
            reason_codes=tuple(str(code) for code in decision.reason_codes),
            detail=record.detail,
            faces=() if prepared is None else tuple(self._face(i, f, record) for i, f in enumerate(prepared.faces)),
            deciding_face=face,
            abstain_action=point.abstain_action if abstains else None,
            patch_map=None if face is None or deciding is None else record.s5(face),
            size=None if prepared is None else prepared.decoded.image.size,
            file_sha256=None if prepared is None else prepared.decoded.sha256,
            notes=() if prepared is None else prepared.decoded.notes,
            warnings=self._warnings,
            contract_digest=self.contract.digest,
            bundle_digest=self.bundle.payload_digest,
            detector=self._identity,
            versions=self._versions,
            milliseconds={stage: round(value, 3) for stage, value in record.milliseconds.items()},
        )

    def _face(self, index: int, face: PreparedFace, record: StageRecord) -> FaceVerdict:
        judged = record.judged.get(index)
        measured: dict[str, Any] = vars(face.quality)
        return FaceVerdict(
            box=face.face.box,
            crop_box=tuple(face.crop_box),
            score=face.face.score,
            landmarks=face.face.landmarks,
            look=face.face.look,
            soft=face.soft,
            reason_codes=tuple(str(code) for code in face.reason_codes),
            logit=None if judged is None else judged.pooled_logit,
            probability=None if judged is None else judged.probability,
            **measured,
        )

    def __repr__(self) -> str:
        """One line: bundle, runtime and digests."""
        about = self.bundle.manifest
        return (
            f"<Detector {about.name} {about.version}, {self._runtime_name}, payload {self.bundle.payload_digest[:12]}>"
        )


@dataclass(frozen=True)
class _Many:
    """What `Detector.predict_many` does with each picture, here or in a worker."""

    bundle: Bundle
    contract: LoadedContract
    runtime: RuntimeName
    unseen: Verdict
    heatmaps: bool

    def load(self) -> Detector:
        """Load a worker's detector."""
        return Detector(self.bundle, self.contract, self.runtime)

    def judge(self, loaded: Detector, item: Any) -> Verdict:  # noqa: ANN401
        """Verdict on one picture, whatever it is."""
        if isinstance(item, Verdict):  # it could not be sent
            return item
        try:
            return loaded.verdict(item, keep=self.heatmaps)
        except TypeError as error:
            return self.unseen.without_picture("rejected", ReasonCode.UNREADABLE, str(error))

    def sent(self, source: Picture) -> Picture | Verdict:
        """The picture, to be sent to a worker; the verdict on what cannot be sent."""
        try:
            return portable(source, self.contract.policy.pixel_pipeline)
        except TypeError as error:
            return self.unseen.without_picture("rejected", ReasonCode.UNREADABLE, str(error))
        except Rejected as rejected:
            return self.unseen.without_picture("rejected", rejected.codes[0], rejected.detail)

    def died(self, item: Any, exitcode: int | None) -> Verdict:  # noqa: ANN401
        """Verdict on a picture whose worker died."""
        detail = f"the worker process ended with {exitcode} on this picture"
        lost = self.unseen.without_picture("error", ReasonCode.INTERNAL_ERROR, detail)
        return lost.model_copy(update={"path": path_of(item)})


def _fail(
    record: StageRecord, outcome: Literal["rejected", "error"], codes: tuple[ReasonCode, ...], detail: str
) -> None:
    record.outcome = outcome
    record.detail = detail
    record.judged = {}
    record.decision = Decision("abstain", tuple(str(code) for code in codes), None)


def _refuse_undecidable(contract: LoadedContract) -> None:
    """Refuse a policy whose threshold no contract holds: it would judge what it was to be stricter about."""
    if contract.policy.quality_gates.low_quality_policy == "abstain":
        return
    key = "quality_gates.low_quality_policy"
    text = '"stricter_threshold" needs a threshold that the contract does not have yet; allowed here: "abstain"'
    raise ContractError(str(contract.path), [Problem(contract.provenance[key].line, key, text)])


def _decoder_warnings(found: dict[str, str], decoder_version: str) -> tuple[str, ...]:
    """What a decoder that is not the one of the golden stages means for the evidence."""
    others = other_libraries(found, frozen_decoder(decoder_version))
    return (f"no evidence covers this decoder: {others}",) if others else ()


def _override_warnings(own: LoadedContract, chosen: LoadedContract) -> tuple[str, ...]:
    """What a contract that is not the bundle's means for its evidence."""
    if own.digest == chosen.digest:
        return ()
    warnings = [f"contract {chosen.digest[:12]} is not the bundle's {own.digest[:12]}: no evidence covers this pair"]
    warnings += [
        f"section {section} differs: the model was trained and calibrated under the other one"
        for section in _SECTIONS_OF_EVIDENCE
        if getattr(own.policy, section) != getattr(chosen.policy, section)
    ]
    return tuple(warnings)
