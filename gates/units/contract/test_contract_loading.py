"""Every problem of a contract file is found, all at once, with line, key, value and what is allowed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecdd.contract.describing import allowed, knob_fields
from ecdd.contract.loading import ContractError, LoadedContract, check_reason_codes, load_contract
from ecdd.contract.yaml_reading import Value, plain, read_yaml
from ecdd.pipeline.reason_codes import ReasonCode
from gates.support.edited_bundles import SOURCE_CONTRACT


@pytest.fixture(scope="module")
def good() -> LoadedContract:
    return load_contract(SOURCE_CONTRACT)


@pytest.fixture(scope="module")
def text(good: LoadedContract, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The contract as the project writes it: one line a knob."""
    path = tmp_path_factory.mktemp("contract") / "contract.yaml"
    good.dump(path)
    return path.read_text()


def problems(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    assert all(line.startswith(str(path)) for line in str(caught.value).splitlines())
    return [(problem.line, problem.key, problem.text) for problem in caught.value.problems]


def leaf(key: str, text: str) -> tuple[int, str]:
    """Return the line number and the line of a knob in a dumped contract."""
    section, _, name = key.partition(".")
    lines = text.splitlines()
    start = lines.index(f"{section}:")
    at = next(i for i in range(start + 1, len(lines)) if lines[i].startswith(f"  {name}: "))
    return at + 1, lines[at]


def replaced(key: str, new: str, text: str) -> tuple[int, str]:
    number, old = leaf(key, text)
    assert old != new
    lines = text.splitlines()
    lines[number - 1] = new
    return number, "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("key", "line", "at", "words"),
    [
        ("operating_point.t_fake", "t_fake: {value: 1.2, status: proposed, set_by: E4.4}", "", ["1.2", "below 1"]),
        ("operating_point.t_fake", 't_fake: {value: "0.7", status: proposed, set_by: E4.4}', "", ['"0.7"', "number"]),
        ("operating_point.t_fake", "t_fake: {value: .nan, status: proposed, set_by: E4.4}", "", ["NaN", "finite"]),
        ("operating_point.t_fake", "t_fake: {value: .inf, status: proposed, set_by: E4.4}", "", ["Infinity"]),
        ("operating_point.t_fake", "t_fake: {value: true, status: proposed, set_by: E4.4}", "", ["true", "number"]),
        ("operating_point.t_fake", "t_fake: {value: , status: proposed, set_by: E4.4}", "", ["null", "number"]),
        ("operating_point.t_fake", "t_fake: {value: 0.7, status: done, set_by: E4.4}", ".status", ["done", "frozen"]),
        ("operating_point.t_fake", "t_fake: {value: 0.7, status: proposed, set_by: E4.5}", ".set_by", ["E4.5", "E4.4"]),
        ("operating_point.t_fake", "t_fake: {value: 0.7, status: proposed}", ".set_by", ["missing"]),
        ("operating_point.t_fake", "t_fake: {vale: 0.7, status: frozen, set_by: E4.4}", ".vale", ['mean "value"']),
        ("operating_point.t_fake", "t_fake: 0.7", "", ["0.7", "stands alone"]),
        ("pixel_pipeline.max_bytes", "max_bytes: {value: 33554432.0, status: frozen, set_by: E1.2}", "", ["integer"]),
        ("pixel_pipeline.max_bytes", "max_bytes: {value: 1023, status: frozen, set_by: E1.2}", "", ["1024 to"]),
        ("pixel_pipeline.resize_antialias", "resize_antialias: {value: 1, status: frozen, set_by: E1.8}", "", ["true"]),
        (
            "pixel_pipeline.resize_antialias",
            "resize_antialias: {value: no, status: frozen, set_by: E1.8}",
            ".value",
            [],
        ),
        (
            "pixel_pipeline.resize_antialias",
            "resize_antialias: {value: on, status: frozen, set_by: E1.8}",
            ".value",
            [],
        ),
        ("pixel_pipeline.input_size", "input_size: {value: 0x100, status: frozen, set_by: E1.8}", ".value", ["0x100"]),
        ("pixel_pipeline.input_size", "input_size: {value: 0400, status: frozen, set_by: E1.8}", ".value", ["0400"]),
        ("pixel_pipeline.input_size", "input_size: {value: 4:16, status: frozen, set_by: E1.8}", ".value", ["4:16"]),
        (
            "pixel_pipeline.input_size",
            "input_size: {value: &a 256, status: frozen, set_by: E1.8}",
            ".value",
            ["anchor"],
        ),
        (
            "pixel_pipeline.input_size",
            "input_size: {value: !!int 256, status: frozen, set_by: E1.8}",
            ".value",
            ["tag"],
        ),
        ("pixel_pipeline.input_size", "input_size: !!python/tuple {value: 256}", "", ["tag"]),
        ("pixel_pipeline.resize_kernel", "resize_kernel: {value: area, status: frozen, set_by: E1.8}", "", ["bicubic"]),
        ("pixel_pipeline.resize_kernel", "resize_kernl: {value: box, status: frozen, set_by: E1.8}", None, []),
        (
            "quality_gates.max_faces",
            "max_faces: {value: 8, value: 9, status: proposed, set_by: E2.5}",
            ".value",
            ["dup"],
        ),
    ],
)
def test_one_wrong_line(tmp_path: Path, text: str, key: str, line: str, at: str | None, words: list[str]) -> None:
    number, changed = replaced(key, f"  {line}", text)
    found = problems(tmp_path, changed)
    if at is None:
        assert (number, "pixel_pipeline.resize_kernl", 'unknown key; did you mean "resize_kernel"?') in found
        return
    there = [problem for problem in found if problem[0] == number and problem[1] == key + at]
    assert there, found
    for word in words:
        assert word in there[0][2]


def _wrongly_missed(tmp_path: Path, text: str, key: str) -> str:
    """What is wrong with the problems of a contract without one knob; empty when nothing is."""
    number, _ = leaf(key, text)
    lines = text.splitlines()
    del lines[number - 1]
    found = problems(tmp_path, "\n".join(lines) + "\n")
    section = key.split(".", maxsplit=1)[0]
    at = lines.index(f"{section}:") + 1
    # where it was the section's only knob, nothing is left of the section
    wanted = {(at, key): allowed(key), (at, section): "not a section"}
    if len(found) == 1 and (words := wanted.get(found[0][:2])) is not None and words in found[0][2]:
        return ""
    return f"{key}: {found}"


def test_a_missing_knob_is_named_with_what_is_allowed(tmp_path: Path, text: str) -> None:
    keys = sorted(key for key in knob_fields() if "." in key and f"  {key.rpartition('.')[2]}: " in text)
    assert len(keys) >= 150
    assert [wrong for key in keys if (wrong := _wrongly_missed(tmp_path, text, key))] == []


def _wrongly_taken(good: LoadedContract, key: str) -> str:
    try:
        good.with_values({key: {"nested": {"deeper": []}}})
    except ContractError as error:
        first = error.problems[0]
        return "" if first.key == key and allowed(key) in first.text else f"{key}: {first}"
    return f"{key}: taken"


def test_every_knob_refuses_another_type(good: LoadedContract) -> None:
    """No knob takes a table in a table: the type of every single one is checked."""
    assert [wrong for key in sorted(knob_fields()) if (wrong := _wrongly_taken(good, key))] == []


def test_all_problems_at_once(tmp_path: Path, text: str) -> None:
    changed = text
    for key, line in {
        "pixel_pipeline.input_size": "input_size: {value: 12, status: frozen, set_by: E1.8}",
        "pooling.rule": "rule: {value: median, status: frozen, set_by: E3.3}",
        "operating_point.t_real": "t_real: {value: 0.99, status: proposed, set_by: E4.5}",
        "release.canary_share": "canary_shar: {value: 0.05, status: proposed, set_by: E7.3}",
    }.items():
        _, changed = replaced(key, f"  {line}", changed)
    changed = changed.replace('contract_version: {value: "', 'contract_version: {value: "v')
    assert {key for _, key, _ in problems(tmp_path, changed)} == {
        "contract_version",
        "pixel_pipeline.input_size",
        "pooling.rule",
        "operating_point",
        "release.canary_shar",
        "release.canary_share",
    }


def test_rules_over_several_knobs_name_the_line(tmp_path: Path, text: str) -> None:
    number, changed = replaced(
        "operating_point.t_real", "  t_real: {value: 0.99, status: proposed, set_by: E4.5}", text
    )
    ((line, key, words),) = problems(tmp_path, changed)
    assert (line, key) == (number, "operating_point")
    assert "t_real 0.99" in words


def test_duplicate_section_and_knob(tmp_path: Path, text: str) -> None:
    number, line = leaf("pooling.rule", text)
    lines = text.splitlines()
    lines.insert(number, line)
    ((at, key, words),) = problems(tmp_path, "\n".join(lines) + "\n")
    assert (at, key) == (number + 1, "pooling.rule")
    assert f"line {number}" in words
    ((_, key, words),) = problems(tmp_path, text + "pooling:\n" + line + "\n")
    assert key == "pooling"
    assert "duplicate" in words


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n# nothing\n",
        "[]",
        "text",
        "a: [",
        "a: *x",
        "a: 1\n---\nb: 2",
        "\0",
        "[" * 50_000,
        "? [a]\n: b",
        "{{a: b}: c}",
    ],
)
def test_what_is_no_contract(tmp_path: Path, content: str) -> None:
    assert problems(tmp_path, content)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such file"):
        load_contract(tmp_path / "missing.yaml")
    with pytest.raises(ContractError, match="not a file"):
        load_contract(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ContractError, match="UTF-8"):
        load_contract(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 2**20)
    with pytest.raises(ContractError, match="1048576 bytes"):
        load_contract(tmp_path / "large.yaml")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContractError, match="not a file"):
        load_contract(tmp_path / "pipe")
    with pytest.raises(ContractError):
        load_contract(str(tmp_path / "a\0b"))


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_contract_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(ContractError):
        load_contract(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_contract_loads_or_is_a_contract_error(tmp_path: Path, text: str, data: st.DataObject) -> None:
    """Cut a piece out of a good contract: never another exception, and never a value that is not in the file."""
    start = data.draw(st.integers(0, len(text) - 1))
    path = tmp_path / "cut.yaml"
    path.write_text(text[:start] + text[start + data.draw(st.integers(1, 60)) :])
    try:
        loaded = load_contract(path)
    except ContractError:
        return
    else:
        raw = yaml.safe_load(path.read_text())
        for knob, value in (loaded.values | loaded.written).items():
            if value is None:  # a knob that the older schema of the file does not have
                continue
            section, _, name = knob.rpartition(".")
            found = (raw[section] if section else raw)[name]["value"]
            # PyYAML takes a number without a dot (10e-05) for text; it is still the number in the file
            assert found == value or (isinstance(found, str) and isinstance(value, float) and float(found) == value)


@pytest.mark.parametrize("written", ["0229", "-017", "00"])
def test_a_number_with_a_leading_zero_is_refused(tmp_path: Path, text: str, written: str) -> None:
    path = tmp_path / "zero.yaml"
    path.write_text(text.replace("nms_iou: {value: 0.3,", f"nms_iou: {{value: {written},"))
    with pytest.raises(ContractError, match=written):
        load_contract(path)


SCALARS = (
    st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), SCALARS | st.lists(SCALARS, max_size=4), max_size=5))
def test_written_values_read_the_same_here_and_in_yaml_1_1(content: dict[str, Value]) -> None:
    from ecdd.contract.writing import yaml_value

    written = yaml_value(content)
    root, found = read_yaml(written)
    assert root is not None
    assert not found
    assert plain(root) == content
    assert yaml.safe_load(written) == content


def test_dump_reads_back_equal(good: LoadedContract, text: str, tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text(text)
    again = load_contract(path)
    assert (again.digest, again.policy) == (good.digest, good.policy)
    assert again.provenance["patch_grid.rows"].line == leaf("patch_grid.rows", text)[0]


def test_with_values(good: LoadedContract) -> None:
    key = "quality_gates.blur_threshold"
    changed = good.with_values({key: 41}, status="frozen", set_by="E2.7")
    assert changed.policy.quality_gates.blur_threshold == 41.0
    assert changed.provenance[key].status == "frozen"
    assert key not in changed.proposed
    assert changed.digest != good.digest
    assert changed.preprocessing_digest == good.preprocessing_digest
    with pytest.raises(ContractError, match=r'set by "E2\.7"'):
        good.with_values({key: 41}, set_by="E2.6")
    with pytest.raises(ContractError, match="did you mean"):
        good.with_values({"quality_gates.blur_treshold": 41})
    kernel = good.with_values({"pixel_pipeline.resize_kernel": "box"})
    assert kernel.preprocessing_digest != good.preprocessing_digest


def test_reason_codes_equal_the_code(good: LoadedContract) -> None:
    table = {code.name.lower(): code.value for code in ReasonCode}
    check_reason_codes(good, table)
    swapped = table | {"no_face": table["too_blurry"], "too_blurry": table["no_face"]}
    with pytest.raises(ContractError) as caught:
        check_reason_codes(good, swapped)
    assert {problem.key for problem in caught.value.problems} == {
        "reason_codes.codes.no_face",
        "reason_codes.codes.too_blurry",
    }
    with pytest.raises(ContractError, match="animated"):
        check_reason_codes(good, {name: code for name, code in table.items() if name != "animated"})


def test_the_default_bundle_holds_this_contract() -> None:
    """The default bundle was built from the repository's contract, as it is now."""
    assert load_contract(None).digest == load_contract(SOURCE_CONTRACT).digest


def test_loading_is_quick() -> None:
    """Loading is part of every start: 60 ms at most, also on a busy machine; processor time, best of five."""
    times = []
    for _ in range(5):
        start = time.process_time()
        load_contract(SOURCE_CONTRACT)
        times.append(time.process_time() - start)
    assert min(times) < 0.060
