"""A release is approved on evidence of exactly this payload and contract, and refused for every other reason."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ecdd.bundle import BundleError, bundle_path, load_bundle
from ecdd.evidence.attestation import attest
from ecdd.evidence.merging import read_records
from ecdd.release.approval import Decision, decide
from ecdd.release.approving import PAGE, REPORT, ReleaseError, check_released, release
from ecdd.release.signing import SIGNATURE, SigningError, make_keys
from ecdd.release.waivers import Waiver
from gates.own_model.bringing import ecdd
from gates.support.releasable import CLAIMS, ROOT, make_bundle, measure

TODAY = datetime.date(2026, 11, 24)
pytest.importorskip("model_signing", reason="signing needs the extra 'release'")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``bundle``, ``reports`` and a key pair; tests take copies."""
    folder = tmp_path_factory.mktemp("release")
    measure(make_bundle(folder / "bundle"), folder / "reports")
    make_keys(folder / "key.pem", folder / "key.pub.pem")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def _decide(here: Path, *waivers: Waiver) -> Decision:
    return decide(load_bundle(here / "bundle"), [here / "reports"], waivers, TODAY, partial=True, own_run=here)


def _released(here: Path) -> Path:
    release(load_bundle(here / "bundle"), _decide(here), here / "key.pem")
    return here / "bundle"


def test_approved_signed_and_verified(here: Path) -> None:
    options = ("--records", here / "reports", "--key", here / "key.pem", "--as-of", TODAY)
    said = ecdd("release", here / "bundle", *options)
    assert said.returncode == 1
    assert "experiments of the specification are not claimed or waived (E1.1, " in said.stdout
    said = ecdd("release", here / "bundle", *options, "--partial")
    assert said.returncode == 0, said.stderr
    assert "RELEASE APPROVED, PARTIAL, SELF-ATTESTED" in said.stdout
    report = json.loads((here / "bundle" / REPORT).read_text())
    assert report["supported"] == list(CLAIMS)
    assert report["payload_digest"] == load_bundle(here / "bundle").payload_digest
    shown = (here / "bundle" / PAGE).read_text()
    assert "NNAPI delegate: not tested" in shown
    assert "device split" in shown
    assert shown.startswith("# Release approved, partial, self-attested")
    assert "operating_point.max_abstain_rate: 0.3" in shown
    assert read_records(here / "reports")["E1.9"].identity.golden_digest in shown
    verified = ecdd("bundle", "verify", here / "bundle", "--public-key", here / "key.pub.pem")
    assert verified.returncode == 0, verified.stderr
    assert "signed, partial, self-attested; the signature holds" in verified.stdout


def _flips(bundle: Path, places: int) -> Iterator[str]:
    """Flip one bit of one byte after the other, seeded places of every file; yields a name while it is changed."""
    rng = np.random.default_rng(8)
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        chosen = {0, len(content) - 1} if places > 1 else set()
        chosen |= {int(rng.integers(len(content))) for _ in range(places)}
        for place in sorted(chosen):
            flipped = content[place] ^ (1 << int(rng.integers(8)))
            path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
            yield f"{path.relative_to(bundle)} byte {place}"
        path.write_bytes(content)


def test_no_byte_of_a_signed_bundle_is_free(here: Path) -> None:
    """The first, the last and some other bytes of every file, the report and the signature included."""
    bundle, accepted = _released(here), []
    for name in _flips(bundle, 6):
        try:
            check_released(load_bundle(bundle), here / "key.pub.pem")
            accepted.append(name)
        except (BundleError, ReleaseError, SigningError):
            pass
    assert accepted == []
    assert "holds" in check_released(load_bundle(bundle), here / "key.pub.pem")


def test_no_byte_of_a_bundle_that_ships_is_free(tmp_path: Path) -> None:
    bundle, accepted = Path(shutil.copytree(bundle_path("tiny"), tmp_path / "bundle")), []
    for name in _flips(bundle, 1):
        try:
            check_released(load_bundle(bundle), None)
            accepted.append(name)
        except (BundleError, ReleaseError):
            pass
    assert accepted == []
    load_bundle(bundle)


def _renamed(bundle: Path) -> None:
    (bundle / "weights.safetensors").rename(bundle / "weights2.safetensors")


def _other_case(bundle: Path) -> None:
    (bundle / "model.tflite").rename(bundle / "Model.tflite")


def _exchanged(bundle: Path) -> None:
    one, two = bundle / "model.tflite", bundle / "weights.safetensors"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _linked(bundle: Path) -> None:
    shutil.move(bundle / "model.tflite", bundle.parent / "model.tflite")
    (bundle / "model.tflite").symlink_to(bundle.parent / "model.tflite")


def _hard_to_see(bundle: Path) -> None:
    (bundle / "release" / "notes.txt").write_text("approved")


def _page_gone(bundle: Path) -> None:
    (bundle / PAGE).unlink()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "renamed": (_renamed, "missing files: weights.safetensors"),
    "another case": (_other_case, "extra files: Model.tflite"),
    "exchanged": (_exchanged, "mismatched files: model.tflite, weights.safetensors"),
    "symbolic link": (_linked, "is a symbolic link"),
    "extra beside the signature": (_hard_to_see, "the signature does not hold"),
    "page gone": (_page_gone, "approval.md: cannot be read"),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_changed_bundle_is_refused_by_name(here: Path, name: str) -> None:
    change, said = CHANGES[name]
    bundle = _released(here)
    change(bundle)
    verified = ecdd("bundle", "verify", bundle, "--public-key", here / "key.pub.pem")
    assert verified.returncode == 2
    assert said in verified.stderr
    assert "Traceback" not in verified.stderr


def test_extra_and_missing_files_are_listed(here: Path) -> None:
    bundle = _released(here)
    (bundle / "extra.txt").write_text("x")
    (bundle / "weights.safetensors").unlink()
    said = ecdd("bundle", "verify", bundle)
    assert said.returncode == 2
    assert "extra.txt" in said.stderr
    assert "weights.safetensors" in said.stderr


def test_another_key_and_no_signature_are_refused(here: Path) -> None:
    bundle = _released(here)
    make_keys(here / "other.pem", here / "other.pub.pem")
    with pytest.raises(SigningError, match="does not hold"):
        check_released(load_bundle(bundle), here / "other.pub.pem")
    (bundle / SIGNATURE).unlink()
    with pytest.raises(SigningError, match="unsigned"):
        check_released(load_bundle(bundle), here / "key.pub.pem")
    assert check_released(load_bundle(bundle), None) == "released, partial, self-attested UNSIGNED"


@pytest.mark.parametrize("kept", [False, True])
def test_a_key_that_does_not_work_leaves_no_report(here: Path, kept: bool) -> None:
    """The folder goes with it, unless something else lies there."""
    folder = here / "bundle" / "release"
    if kept:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    (here / "broken.pem").write_text("no key")
    with pytest.raises(SigningError):
        release(load_bundle(here / "bundle"), _decide(here), here / "broken.pem")
    assert sorted(path.name for path in folder.glob("*")) == (["notes.txt"] if kept else [])
    assert folder.exists() == kept


def test_unsigned_is_asked_for_and_said(here: Path) -> None:
    options = ("--records", here / "reports", "--as-of", TODAY, "--partial")
    assert ecdd("release", here / "bundle", *options).returncode == 2
    said = ecdd("release", here / "bundle", *options, "--unsigned")
    assert said.returncode == 0
    assert "UNSIGNED" in said.stderr


def test_who_releases_may_not_attest(here: Path) -> None:
    attest(here / "reports", here / "key.pem")
    options = ("--records", here / "reports", "--partial", "--as-of", TODAY, "--key", here / "key.pem")
    own = ecdd("release", here / "bundle", *options, "--evidence-key", here / "key.pub.pem")
    assert own.returncode == 2
    assert "who releases may not attest" in own.stderr


@pytest.mark.parametrize(
    ("bundle", "why"),
    [("default", "E1.1 upload invariance: claimed and not run"), ("tiny", "runtime.max_latency is still proposed")],
)
def test_a_shipped_bundle_says_why_it_is_refused(tmp_path: Path, bundle: str, why: str) -> None:
    said = ecdd("release", bundle_path(bundle), "--dry-run", "--records", tmp_path)
    assert said.returncode == 1
    assert why in said.stdout
    assert said.stdout.strip().splitlines()[-1].startswith("RELEASE REFUSED for ")


def test_a_bundle_released_earlier_still_verifies() -> None:
    """Stored when releases began; every later version must read it."""
    folder = Path(__file__).parent / "fixtures"
    bundle = load_bundle(folder / "released")
    assert "the signature holds" in check_released(bundle, folder / "released.pub.pem")
    relative = folder.relative_to(ROOT)
    said = ecdd("bundle", "verify", relative / "released", "--public-key", relative / "released.pub.pem")
    assert said.returncode == 0, said.stderr


def test_bundle_diff_names_files_and_values(here: Path) -> None:
    said = ecdd("bundle", "diff", bundle_path("tiny"), here / "bundle")
    assert said.returncode == 1
    assert "policy_contract.yaml: changed" in said.stdout
    assert "contract release.claims" in said.stdout
    assert ecdd("bundle", "diff", here / "bundle", here / "bundle").returncode == 0
