"""Defects of the near-duplicate scan: copies that are missed, files that vanish, strangers that are joined."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.mutants.stored_results import points_that_pictures_share


def rotated_duplicate_missed() -> None:
    """Pictures are compared as they are only: what was turned or mirrored is another picture."""
    from ecdd.dataset_governance import leakage_scan, picture_hashes

    really = picture_hashes.hash_picture
    picture_hashes.hash_picture = lambda image, size: np.repeat(really(image, size)[:1], 8, axis=0)
    leakage_scan.shared_points = lambda _features: {}


def unreadable_skipped() -> None:
    """A file that cannot be read is left out of the scan without a word."""
    from ecdd.dataset_governance import leakage_scan, picture_hashes

    points_that_pictures_share()
    hashes, features = leakage_scan.hashes_of, leakage_scan.features_of

    def readable(files: Any, pixels: Any) -> Any:
        return [file for file in files if not isinstance(picture_hashes._read(file[1], pixels), str)]

    leakage_scan.hashes_of = lambda files, pixels, *more: hashes(readable(files, pixels), pixels, *more)
    leakage_scan.features_of = lambda files, pixels, *more: features(readable(files, pixels), pixels, *more)


def distance_limit_ignored() -> None:
    """Hashes that share little more than chance are copies."""
    from ecdd.dataset_governance import near_pairs

    points_that_pictures_share()
    really = near_pairs.near_pairs
    near_pairs.near_pairs = lambda codes, size, _limit, **more: really(codes, size, 110, **more)


def groups_not_transitive() -> None:
    """A picture joins the first it is paired with, not all that those are paired with."""
    from ecdd.dataset_governance import leakage_scan

    points_that_pictures_share()

    def planted(keys: Any, pairs: Any) -> Any:
        return {key: key for key in keys} | {second: first for first, second in reversed(pairs)}

    leakage_scan.union_groups = planted


def tables_without_mirrors() -> None:
    """The tables look up hashes as they are: a mirrored copy has another key in each."""
    from ecdd.dataset_governance import near_pairs

    points_that_pictures_share()
    really = near_pairs._Tables._key
    near_pairs._Tables._key = lambda self, bits, turned: really(self, bits, turned * 0)  # type: ignore[method-assign]


def crossings_unseen() -> None:
    """Two copies may lie in any two lineages."""
    from ecdd.dataset_governance import duplicate_groups

    points_that_pictures_share()
    duplicate_groups.crossings = lambda _pairs, _lineage, _names: []


def scan_below_its_limit() -> None:
    """Two pictures at just the distance that the contract allows are strangers."""
    from ecdd.dataset_governance import near_pairs

    really = near_pairs.near_pairs
    near_pairs.near_pairs = lambda codes, size, limit, **more: really(codes, size, limit - 1, **more)
