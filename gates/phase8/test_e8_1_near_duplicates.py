"""E8.1 near-duplicate scan: a scan across splits groups duplicates and never splits a group; it finds rotated and
re-encoded copies, and unreadable files are errors.

A copy of a training picture in the test set is a test of memory. Fails when a planted copy is not found, strangers
are joined, a file is passed over in silence, or a pair crosses a split.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ecdd.dataset_governance import duplicate_groups, leakage_scan, near_pairs, picture_hashes
from ecdd.dataset_governance.build_split import assign_lineage
from ecdd.dataset_governance.leakage_scan import NearDuplicate, ScanResult
from ecdd.dataset_governance.lineage_tags import load_split
from ecdd.dataset_governance.manifest import ManifestRow, load_manifest
from ecdd.dataset_governance.picture_hashes import UnreadableError
from gates.support.fixtures import Evidence, GoldenSet, NotTested, PolicyContract
from gates.support.made_hashes import SIZE, symmetric, uniform
from gates.support.planted_copies import PARTS, WHOLE, Planted, plant
from gates.support.portraits import split_of


@dataclass(frozen=True)
class Scanned:
    """The planted set and what a scan of it finds."""

    planted: Planted
    found: ScanResult


@pytest.fixture(scope="session")
def scanned(golden: GoldenSet, policy: PolicyContract, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    planted = plant(golden, tmp_path_factory.mktemp("planted"), policy)
    found = leakage_scan.scan(planted.files, policy.pixel_pipeline, policy.dataset_governance)
    return Scanned(planted, found)


@pytest.mark.experiment("E8.1")
def test_planted_copies_are_found(evidence: Evidence, scanned: Scanned) -> None:
    """Turned, mirrored, re-encoded, resized and recoloured copies all; crops and borders are reported by kind."""
    planted, groups = scanned.planted, scanned.found.groups
    asked, seen, missed = Counter[str](), Counter[str](), []
    for kind, original, copy in planted.copies:
        asked[kind] += 1
        together = groups[original] == groups[copy]
        seen[kind] += together
        if not together and kind in WHOLE:
            missed.append(planted.names[copy])
    evidence.none("whole_copies_missed", missed, n=sum(asked[kind] for kind in WHOLE))
    for kind in PARTS:
        evidence.measure(f"recall_{kind}", seen[kind] / asked[kind], "rate")
    evidence.table("recall", [{"kind": k, "planted": asked[k], "found": seen[k]} for k in (*WHOLE, *PARTS)])


@pytest.mark.experiment("E8.1")
def test_strangers_stay_apart_and_groups_whole(evidence: Evidence, scanned: Scanned) -> None:
    """No group holds two photographs; and two pictures that a chain of pairs links are in one group."""
    planted, found = scanned.planted, scanned.found
    first: dict[str, str] = {}
    mixed = []
    for key, _ in planted.files:
        other = first.setdefault(found.groups[key], key)
        if planted.photographs[other] != planted.photographs[key]:
            mixed.append(f"{planted.names[other]} with {planted.names[key]}")
    evidence.none("strangers_joined", mixed, n=len(planted.files))
    torn = [pair for pair in found.pairs if found.groups[pair.first] != found.groups[pair.second]]
    names = [f"{planted.names[pair.first]} and {planted.names[pair.second]}" for pair in torn]
    evidence.none("linked_in_two_groups", names, n=len(found.pairs), unit="pair")


@pytest.mark.experiment("E8.1")
def test_the_search_for_many_finds_what_comparing_all_finds(
    evidence: Evidence, policy: PolicyContract, scanned: Scanned
) -> None:
    """The tables that a million pictures need, on the planted hashes, against every pair."""
    rules = policy.dataset_governance
    size, limit = rules.near_duplicate_hash_size, rules.near_duplicate_max_distance
    files, names = scanned.planted.files, scanned.planted.names
    codes = picture_hashes.hashes_of(files, policy.pixel_pipeline, size, picture_hashes.Work())

    def distances(exact_up_to: int) -> dict[tuple[int, int], int]:
        pairs, apart = near_pairs.near_pairs(codes, size, limit, exact_up_to=exact_up_to)
        return {(first, second): int(d) for (first, second), d in zip(pairs.tolist(), apart, strict=True)}

    exact, tables = distances(len(files)), distances(0)
    missed = [" and ".join(names[files[k][0]] for k in pair) for pair in sorted(exact.keys() - tables.keys())]
    evidence.none("pairs_missed_by_tables", missed, n=len(exact), unit="pair")
    wrong = [str(pair) for pair, distance in tables.items() if exact.get(pair) != distance]
    evidence.none("pairs_or_distances_invented", wrong, n=len(tables), unit="pair")


@pytest.mark.experiment("E8.1")
def test_unreadable_files_are_errors(
    evidence: Evidence, policy: PolicyContract, scanned: Scanned, tmp_path: Path
) -> None:
    """Cut off, empty, no picture, not there: each is named, and nothing is grouped."""
    good = scanned.planted.files[:2]
    contents = {"cut.jpg": b"\xff\xd8\xff\xe0 cut", "empty.png": b"", "text.jpg": b"no picture", "gone.png": None}
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    files = [*good, *((name, tmp_path / name) for name in contents)]
    named: set[str] = set()
    try:
        leakage_scan.scan(files, policy.pixel_pipeline, policy.dataset_governance)
    except UnreadableError as error:
        named = {problem.split(":")[0] for problem in error.problems}
    evidence.none("unreadable_not_named", sorted(contents.keys() - named), n=len(contents), unit="file")


@pytest.mark.experiment("E8.1")
def test_a_split_keeps_groups_together(evidence: Evidence, scanned: Scanned, tmp_path: Path) -> None:
    """A split dealt over the written groups tears none; a copy that is moved across it is named with both ends."""
    planted, found = scanned.planted, scanned.found
    rows = [
        ManifestRow(path, planted.names[key], k % 2, "face", "golden", None, key)
        for k, (key, path) in enumerate(planted.files)
    ]
    duplicate_groups.write_groups(tmp_path / "groups.csv", rows, found)
    groups, by_hash = duplicate_groups.read_groups([tmp_path / "groups.csv"], rows)
    tags = {row.sha256: row.lineage.value for row in assign_lineage(rows, by_hash, groups)}
    crossing = duplicate_groups.crossings(found.pairs, tags, planted.names)
    evidence.none("pairs_across_a_new_split", crossing, n=len(found.pairs), unit="pair")
    unnamed = []
    for kind, original, copy in planted.copies:
        moved = dict.fromkeys(tags, "TRAIN") | {copy: "TEST-NEVER-TOUCH"}
        said = duplicate_groups.crossings(found.pairs, moved, planted.names)
        if kind in WHOLE and not any(f"{planted.names[original]} in TRAIN" in line for line in said):
            unnamed.append(planted.names[copy])
    evidence.none("moved_copies_not_named", unnamed, n=len(planted.copies))


@pytest.mark.experiment("E8.1")
def test_shared_data(evidence: Evidence, policy: PolicyContract, data_root: Path | None) -> None:
    """The pictures of ``--data`` under their split."""
    if data_root is None:
        raise NotTested("near-duplicates of the labelled pictures", "needs --data")
    rows = load_manifest(data_root)
    names = {row.sha256: row.name for row in rows}
    files = [(row.sha256, row.path) for row in rows]
    found = leakage_scan.scan(files, policy.pixel_pipeline, policy.dataset_governance)
    tags = {key: row.lineage.value for key, row in load_split(split_of(data_root)).rows.items()}
    evidence.none("pairs_across_the_split", duplicate_groups.crossings(found.pairs, tags, names), n=len(rows))
    evidence.measure("groups", len(set(found.groups.values())), "group")
    evidence.table("pairs", [_pair_row(pair, names, tags) for pair in found.pairs])
    sizes = Counter(found.groups.values())
    pictures = Counter(row.source for row in rows)
    grouped = Counter(row.source for row in rows if sizes[found.groups[row.sha256]] > 1)
    evidence.table("sources", [{"source": s, "pictures": n, "in_groups": grouped[s]} for s, n in pictures.items()])


def _pair_row(pair: NearDuplicate, names: dict[str, str], tags: dict[str, str]) -> dict[str, str | int]:
    return {
        "first": names[pair.first],
        "second": names[pair.second],
        "bits": pair.distance,
        "points": pair.shared_points,
        "lineage": tags.get(pair.first, ""),
    }


@pytest.mark.experiment("E8.1")
def test_a_pair_at_the_limit_is_near_and_one_beyond_is_not(evidence: Evidence, policy: PolicyContract) -> None:
    """Hashes that differ in exactly as many bits as the contract allows, and in one more."""
    limit, rng = policy.dataset_governance.near_duplicate_max_distance, np.random.default_rng(81)
    originals = uniform(40, rng)
    copies = originals.copy().reshape(len(originals), -1)
    for place, bits in enumerate(copies):
        flipped = rng.permutation(bits.size)[: limit + place % 2]
        bits[flipped] = ~bits[flipped]
    codes = symmetric(np.concatenate([originals, copies.reshape(originals.shape)]))
    found, distances = near_pairs.near_pairs(codes, SIZE, limit)
    pairs = dict(zip(map(tuple, found.tolist()), distances.tolist(), strict=True))
    expected = {(place, place + len(originals)): limit for place in range(0, len(originals), 2)}
    wrong = [f"{pair}: {pairs.get(pair)}, not {expected.get(pair)}" for pair in sorted(pairs.keys() | expected)
             if pairs.get(pair) != expected.get(pair)]  # fmt: skip
    evidence.none("pairs_off_the_limit", wrong, n=len(originals), unit="pair")
