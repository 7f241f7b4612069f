"""From bytes to a verdict: the parts of the pipeline and of the inference, composed."""

from __future__ import annotations

import time
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
from ecdd.pipeline.decode import decoder_fingerprint, frozen_decoder, other_libraries, read_file
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.preprocess import check_tensor
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.stages import PreparedFace, PreparedPicture, prepare
from ecdd.runtimes.registry import RuntimeName, load_runtime
from ecdd.runtimes.tflite import wants_xnnpack
from ecdd.tracing import StageRecord
from ecdd.verdict import DetectorSummary, FaceVerdict, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECTIONS_OF_EVIDENCE = ("pixel_pipeline", "face_detector", "patch_grid", "pooling")


class Detector:
    """A bundle, loaded and warm.

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
    """

    def __init__(self, bundle: Bundle, contract: LoadedContract, runtime: RuntimeName = "tflite") -> None:
        check_reason_codes(contract, {code.name.lower(): code.value for code in ReasonCode})
        _refuse_undecidable(contract)
        self.bundle, self.contract, self.policy = bundle, contract, contract.policy
        settings = self.policy.runtime
        self.face_backend = load_detector(self.policy.face_detector, threads=settings.threads)
        self.runtime = load_runtime(bundle, runtime, settings.threads, xnnpack=wants_xnnpack(settings.delegate))
        self.calibration = AppliedCalibration.of(bundle.calibration)
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
        bundle : path or Bundle, optional
            Default bundle where not given.
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

    def predict(self, source: bytes | Path, name: str | None = None) -> Verdict:
        """Judge one picture. Bad input never raises: it abstains with reason codes.

        Parameters
        ----------
        source : bytes or Path
            The file's content, or where it is.
        name : str, optional
            File name for the verdict and for noticing disguised files; the path's own by default.

        Returns
        -------
        Verdict
            Label, probability, reason codes and what led to them.
        """
        label = name if name is not None else (str(source) if isinstance(source, Path) else "")
        return self.summarise(self.examine(source, name), label)

    def examine(self, source: bytes | Path, name: str | None = None) -> StageRecord:
        """Compute S0 to S8 of one picture and keep all of it; never raises for bad input."""
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
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        return record

    def _examine(self, source: bytes | Path, name: str | None, record: StageRecord) -> None:
        if isinstance(source, Path):
            name = source.name if name is None else name
            source = read_file(source, self.policy.pixel_pipeline)
        prepared = prepare(source, self.policy, self.face_backend, name=name)
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
