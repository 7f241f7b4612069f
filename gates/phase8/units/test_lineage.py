"""Lineage tags: loaders that name every bad row, and boundaries that nothing crosses."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ecdd.dataset_governance.build_split import assign_lineage
from ecdd.dataset_governance.lineage_tags import (
    DataSplit,
    LineageError,
    LineageTag,
    SplitRow,
    load_split,
    split_digest,
    write_split,
)  # fmt: skip
from ecdd.dataset_governance.manifest import ManifestError, ManifestRow, load_manifest
from ecdd.dataset_governance.validate_lineage import assert_lineage, join, validate_lineage

SHIPPED = Path(__file__).resolve().parents[3] / "golden" / "data_split.csv"
TRAIN, CALIBRATION, TEST = LineageTag.TRAIN, LineageTag.CALIBRATION, LineageTag.TEST_NEVER_TOUCH


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def tagged(name: object, tag: LineageTag, group: str = "", identity: str = "unknown") -> SplitRow:
    return SplitRow(digest(name), tag, group or digest(name), identity, "0", "face", "s")


def split_of(*rows: SplitRow) -> DataSplit:
    return DataSplit({row.sha256: row for row in rows}, split_digest(rows))


def listed(name: object, source: str = "s", scope: str = "face") -> ManifestRow:
    return ManifestRow(Path(str(name)), str(name), 0 if scope == "face" else None, scope, source, None, digest(name))


@pytest.mark.parametrize("field", ["near_duplicate_group", "identity"])
def test_crossing_names_both_ends(field: str) -> None:
    rows = [replace(tagged("a", TRAIN), **{field: "shared"}), replace(tagged("b", TEST), **{field: "shared"})]
    with pytest.raises(LineageError, match=field) as caught:
        validate_lineage(split_of(*rows))
    assert all(part in str(caught.value) for part in (digest("a")[:12], digest("b")[:12], TRAIN, TEST))


def test_one_tag_a_group_passes_and_unknown_people_do_not_cross() -> None:
    rows = [tagged("a", TRAIN, "g"), tagged("b", TRAIN, "g"), tagged("c", TEST)]
    validate_lineage(split_of(*rows), [listed("a"), listed("b"), listed("c")])


def test_split_and_data_must_match_both_ways() -> None:
    with pytest.raises(LineageError) as caught:
        validate_lineage(split_of(tagged("a", TRAIN), tagged("b", TEST)), [listed("a"), listed("new")])
    assert len(caught.value.problems) == 2
    assert digest("new")[:12] in str(caught.value)
    assert digest("b")[:12] in str(caught.value)


def test_join_refuses_another_label() -> None:
    with pytest.raises(LineageError, match="label, scope or source differ"):
        join([replace(listed("a"), label=1)], split_of(tagged("a", TRAIN)))


def test_audit_or_test_item_is_refused_for_training() -> None:
    split = split_of(tagged("a", TRAIN), tagged("audit", LineageTag.AUDIT), tagged("test", TEST))
    assert_lineage(split, [digest("a")], {TRAIN})
    with pytest.raises(LineageError) as caught:
        assert_lineage(split, [digest(name) for name in ("a", "audit", "test", "stranger")], {TRAIN})
    assert len(caught.value.problems) == 3
    with pytest.raises(LineageError, match="no pictures"):
        assert_lineage(split, [], {TRAIN})


def test_shares_hold_in_each_source_and_repeat() -> None:
    rows = [listed(f"{s}{n}", s) for s in ("x", "y") for n in range(40)]
    rows += [listed(f"o{n}", "x", "ood") for n in range(20)]
    alone = {row.sha256: row.sha256 for row in rows}
    split = assign_lineage(rows, alone, alone)
    assert sorted(split, key=str) == sorted(assign_lineage(rows[::-1], alone, alone), key=str)
    counts = Counter((row.scope, row.source, row.lineage) for row in split)
    for source in ("x", "y"):
        assert [counts["face", source, tag] for tag in (TRAIN, CALIBRATION, TEST)] == [20, 10, 10]
    assert [counts["ood", "x", tag] for tag in (TRAIN, CALIBRATION, TEST)] == [0, 10, 10]


def test_crops_found_later_take_the_most_used_tag_and_move_nothing_else() -> None:
    rows = [listed(n) for n in range(40)]
    alone = {row.sha256: row.sha256 for row in rows}
    before = {row.sha256: row.lineage for row in assign_lineage(rows, alone, alone)}
    trained = min(key for key, tag in before.items() if tag is TRAIN)
    tested = min(key for key, tag in before.items() if tag is TEST)
    joined = alone | dict.fromkeys((trained, tested), min(trained, tested))
    after = assign_lineage(rows, alone, joined)
    assert {row.sha256: row.lineage for row in after} == before | {tested: TRAIN}
    validate_lineage(split_of(*after), rows)


def test_split_file_round_trips_and_its_digest_ignores_order(tmp_path: Path) -> None:
    rows = [tagged("a", TRAIN), tagged("b", TEST)]
    write_split(rows, tmp_path / "s.csv")
    loaded = load_split(tmp_path / "s.csv")
    assert loaded == split_of(*rows[::-1])
    assert loaded.digest != split_of(rows[0], tagged("b", CALIBRATION)).digest


def test_bad_split_rows_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_split([tagged("a", TRAIN)], path)
    good = path.read_text().splitlines()[1]
    bad = [good, good.replace(digest("a"), "xyz"), good.replace("TRAIN", "train").replace(digest("a"), digest("b"))]
    path.write_text("\n".join([path.read_text().rstrip("\n"), *bad]) + "\n")
    with pytest.raises(LineageError) as caught:
        load_split(path)
    assert {text.split(": ")[0] for text in caught.value.problems} == {"s.csv:3", "s.csv:4", "s.csv:5"}


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"sha256,lineage\nx\n"])
def test_broken_tables_are_errors_of_our_own(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(LineageError):
        load_split(path)
    with pytest.raises(ManifestError):
        load_manifest(path)
    with pytest.raises(LineageError, match="cannot be read"):
        load_split(tmp_path / "gone.csv")


def test_every_bad_manifest_row_is_in_one_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    lines = ["path,label,scope,source,sha256", f"a,0,face,s,{digest('a')}", f"a,0,face,s,{digest('a')}",
             f"gone,0,face,s,{digest('gone')}", f"b,2,face,s,{digest('other')}"]  # fmt: skip
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path)
    text = str(caught.value)
    for part in ("csv:3: a: the same picture as line 2", "csv:4: gone: no such file", "label '2'", "SHA-256 is"):
        assert part in text
    assert "csv:2:" not in text


def test_rows_of_the_wrong_length_are_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label,scope,source\na,0\nb,0,face,s,more,cells\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path)
    assert [text.split(": ")[0] for text in caught.value.problems] == [
        "manifest.csv:2",
        "manifest.csv:3",
        "manifest.csv",
    ]


def test_shipped_split_keeps_its_boundaries() -> None:
    split = load_split(SHIPPED)
    validate_lineage(split)
    assert len(split.rows) == 4746
    assert not [row for row in split.rows_with({TRAIN}) if row.scope == "ood"]
    first = {"18f", "congress", "pif", "sd3", "stylegan2", "stylegan2_inversion", "omz", "skimage"}
    for scope, shares in (("face", (0.5, 0.25, 0.25)), ("ood", (0.0, 0.5, 0.5))):
        for source in {row.source for row in split.rows.values() if row.scope == scope} & first:
            rows = [row for row in split.rows.values() if (row.scope, row.source) == (scope, source)]
            for tag, share in zip((TRAIN, CALIBRATION, TEST), shares, strict=True):
                # Groups are not split, and pairs of crops take one tag: up to two pictures beside the share.
                assert abs(sum(row.lineage is tag for row in rows) - share * len(rows)) <= 2
    for source in {row.source for row in split.rows.values()} - first:
        counts = [sum(row.source == source for row in split.rows_with({tag})) for tag in (TRAIN, CALIBRATION, TEST)]
        assert counts[0] > sum(counts) / 2, source
        assert source == "gpen_inpaint" or min(counts[1:]), source
