"""Loading a contract: from a YAML file to typed values, or to one error that lists every problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, cast

from ecdd.contract.checking import line_of, shown, typed_policy
from ecdd.contract.contract_error import ContractError, Problem, nearest
from ecdd.contract.describing import KnobField, knob_fields, section_type
from ecdd.contract.digest import contract_digest, flat_values, preprocessing_digest, tensor_digest
from ecdd.contract.schema import PolicyContract
from ecdd.contract.upgrading import upgrade
from ecdd.contract.writing import contract_text
from ecdd.contract.yaml_reading import Mapping as MappingNode
from ecdd.contract.yaml_reading import Node, Value, plain, read_yaml
from ecdd.files import write_output

__all__ = ["ContractError", "LoadedContract", "Problem", "Provenance", "check_reason_codes", "load_contract"]

Status = Literal["proposed", "frozen"]
STATUSES: tuple[Status, ...] = ("proposed", "frozen")
LEAF_KEYS = ("value", "status", "set_by")
MAX_FILE_BYTES = 2**18
DEFAULT_CONTRACT = Path(__file__).resolve().parent.parent / "bundles" / "default" / "policy_contract.yaml"


@dataclass(frozen=True)
class Provenance:
    """Where one value comes from.

    Attributes
    ----------
    status : {"proposed", "frozen"}
        A release refuses proposed values.
    set_by : str
        The experiment or clause that decides the value.
    line : int
        Line of the key in the file, from 1; 0 for a value that was never in a file.
    """

    status: Status
    set_by: str
    line: int


@dataclass(frozen=True)
class LoadedContract:
    """A contract and where its values come from.

    Attributes
    ----------
    policy : PolicyContract
        The typed values.
    provenance : dict of str to Provenance
        By dotted key.
    path : Path
        The file it was read from.
    written : dict of str to value
        Of a contract of an older schema version only: what was completed, as it is in the file; None where it is not.
    """

    policy: PolicyContract
    provenance: dict[str, Provenance]
    path: Path
    written: dict[str, Value] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of values, statuses and deciding experiments in canonical form."""
        return contract_digest(self.policy, self.provenance, self.written)

    @cached_property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the values of ``pixel_pipeline`` and ``face_detector``."""
        return preprocessing_digest(self.policy, self.filled_in)

    @cached_property
    def tensor_digest(self) -> str:
        """SHA-256 of the values that decide the numbers in S4; weights are trained for it."""
        return tensor_digest(self.policy, self.filled_in)

    @property
    def filled_in(self) -> set[str]:
        """Keys that the file does not have, its schema being older."""
        return {key for key, value in self.written.items() if value is None}

    @property
    def values(self) -> dict[str, Value]:
        """Typed values by dotted key."""
        return flat_values(self.policy)

    @property
    def proposed(self) -> list[str]:
        """Keys of the values nobody has decided yet."""
        return [key for key in knob_fields() if self.provenance[key].status == "proposed"]

    def with_values(
        self, values: Mapping[str, Value], *, status: Status | None = None, set_by: str | None = None
    ) -> LoadedContract:
        """Make a contract with some values replaced; this one stays as it is.

        Parameters
        ----------
        values : mapping of str to value
            New values by dotted key.
        status : {"proposed", "frozen"}, optional
            New status of these keys; unchanged where not given.
        set_by : str, optional
            The experiment that decided; must be the one the schema names for each key.

        Returns
        -------
        LoadedContract
            With its own digest.

        Raises
        ------
        ContractError
            Unknown key, wrong type, out of range, or decided by another experiment than the schema names.
        """
        problems: list[Problem] = []
        merged = self.values
        provenance = dict(self.provenance)
        for key, value in values.items():
            knob = knob_fields().get(key)
            if knob is None:
                problems.append(Problem(0, key, f"unknown key{nearest(key, knob_fields())}"))
                continue
            if set_by is not None and set_by != knob.set_by:
                problems.append(
                    Problem(0, key, f'set_by "{set_by}"; the schema says this knob is set by "{knob.set_by}"')
                )
            merged[key] = value
            old = provenance[key]
            provenance[key] = Provenance(status or old.status, old.set_by, old.line)
        policy = typed_policy(merged, lambda _key, _loc: 0, problems, set())
        if policy is None or problems:
            raise ContractError(str(self.path), problems)
        unchanged = {key: value for key, value in self.written.items() if key not in values}
        return LoadedContract(policy, provenance, self.path, unchanged)

    def dump(self, path: Path | str) -> None:
        """Write the contract as YAML, each section under its description; atomic.

        Parameters
        ----------
        path : Path or str
            The file to write; replaced where it exists.

        Raises
        ------
        OSError
            The folder cannot be made or written.
        """
        values = self.values | self.written
        text = contract_text({k: v for k, v in values.items() if v is not None}, self.provenance)
        write_output(Path(path), text.encode())


def check_reason_codes(contract: LoadedContract, expected: Mapping[str, str]) -> None:
    """Compare the contract's reason codes with the table in the code.

    Parameters
    ----------
    contract : LoadedContract
        Its ``reason_codes.codes`` is judged.
    expected : mapping of str to str
        Lower-case name to code, for example ``{code.name.lower(): code.value for code in ReasonCode}``.

    Raises
    ------
    ContractError
        A code is missing, unknown or has another number.
    """
    key = "reason_codes.codes"
    codes = contract.policy.reason_codes.codes
    line = contract.provenance[key].line
    problems = [
        Problem(line, f"{key}.{name}", f"{shown(codes.get(name))}; this version has {shown(expected.get(name))}")
        for name in sorted(codes.keys() | expected.keys())
        if codes.get(name) != expected.get(name)
    ]
    if problems:
        raise ContractError(str(contract.path), problems)


def load_contract(path: Path | str | None = None, content: bytes | None = None) -> LoadedContract:
    """Load and check a contract.

    Parameters
    ----------
    path : Path or str, optional
        A contract file; the default bundle's contract where not given.
    content : bytes, optional
        The file's content where it has been read, and hashed, already.

    Returns
    -------
    LoadedContract
        Typed values with their provenance.

    Raises
    ------
    ContractError
        The file cannot be read or has problems; all of them are listed with file, line, key, value and what is
        allowed.
    """
    file = DEFAULT_CONTRACT if path is None else Path(path)
    return _checked(file, _text(file, content if content is not None else _read(file, is_default=path is None)))


@lru_cache(maxsize=8)  # a run asks for one contract hundreds of times; what it holds does not change
def _checked(file: Path, text: str) -> LoadedContract:
    root, problems = read_yaml(text)
    if root is None:
        raise ContractError(str(file), problems)
    if not isinstance(root, MappingNode):
        raise ContractError(str(file), [*problems, Problem(root.line, "", "a contract is a table of sections")])
    bad = {problem.key for problem in problems}
    leaves = _leaves(root, problems, bad)
    values: dict[str, Value] = {}
    provenance: dict[str, Provenance] = {}
    nodes: dict[str, Node] = {}
    for key, (line, leaf) in leaves.items():
        checked = _provenance(knob_fields()[key], line, leaf, problems, bad)
        if checked is not None:
            provenance[key] = checked
        if "value" in leaf.entries:
            nodes[key] = leaf.entries["value"][1]
            values[key] = plain(nodes[key])

    written = upgrade(values)
    for key in written.keys() - provenance.keys():
        provenance[key] = Provenance("proposed", knob_fields()[key].set_by, 0)

    def line_at(key: str, loc: tuple[int | str, ...]) -> int:
        if key in nodes:
            return line_of(nodes[key], loc)
        section = root.entries.get(key.split(".", maxsplit=1)[0])
        return section[0] if section else 0

    policy = typed_policy(values, line_at, problems, bad)
    if policy is None or problems:
        raise ContractError(str(file), problems)
    return LoadedContract(policy, provenance, file, written)


def _read(file: Path, *, is_default: bool) -> bytes:
    """Read a small regular file."""
    try:
        if not file.exists():
            hint = "; there is no default bundle here: name a contract file" if is_default else ""
            raise ContractError(str(file), [Problem(0, "", f"no such file{hint}")])
        if not file.is_file():
            raise ContractError(str(file), [Problem(0, "", "not a file; name a contract's YAML file")])
        _check_size(file, file.stat().st_size)
        return file.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ContractError(str(file), [Problem(0, "", f"cannot be read: {why}")]) from None


def _check_size(file: Path, size: int) -> None:
    if size > MAX_FILE_BYTES:
        text = f"{size} bytes; a contract has at most {MAX_FILE_BYTES}"
        raise ContractError(str(file), [Problem(0, "", text)])


def _text(file: Path, content: bytes) -> str:
    _check_size(file, len(content))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"not UTF-8 text (byte {error.start}); save the file as UTF-8"
        raise ContractError(str(file), [Problem(0, "", text)]) from None


def _leaves(root: MappingNode, problems: list[Problem], bad: set[str]) -> dict[str, tuple[int, MappingNode]]:
    """Find every leaf of a known key; report unknown keys and wrong shapes."""
    found: dict[str, tuple[int, MappingNode]] = {}
    fields = PolicyContract.model_fields

    def add(key: str, line: int, node: Node) -> None:
        if isinstance(node, MappingNode):
            found[key] = (line, node)
        else:
            text = f"{shown(plain(node))} stands alone; write {{value: …, status: …, set_by: …}}"
            problems.append(Problem(line, key, text))
            bad.add(key)

    for top, (line, node) in root.entries.items():
        if top not in fields:
            problems.append(Problem(line, top, f"unknown key{nearest(top, fields)}"))
            continue
        section = section_type(fields[top])
        if section is None:
            add(top, line, node)
        elif not isinstance(node, MappingNode):
            problems.append(Problem(line, top, f"{shown(plain(node))} is not a section; write its knobs below it"))
            bad.add(top)
        else:
            for name, (inner_line, inner) in node.entries.items():
                if name in section.model_fields:
                    add(f"{top}.{name}", inner_line, inner)
                else:
                    text = f"unknown key{nearest(name, section.model_fields)}"
                    problems.append(Problem(inner_line, f"{top}.{name}", text))
    return found


def _provenance(
    knob: KnobField, line: int, leaf: MappingNode, problems: list[Problem], bad: set[str]
) -> Provenance | None:
    """Check the three parts of a leaf; the value's own type is checked later, with all others."""
    before = len(problems)
    parts: dict[str, Value] = {}
    for name, (part_line, node) in leaf.entries.items():
        if name not in LEAF_KEYS:
            problems.append(Problem(part_line, f"{knob.key}.{name}", f"unknown key{nearest(name, LEAF_KEYS)}"))
        parts[name] = plain(node)
    for name in LEAF_KEYS:
        if name not in parts and f"{knob.key}.{name}" not in bad:
            problems.append(Problem(line, f"{knob.key}.{name}", "missing"))
        if name not in parts:
            bad.add(knob.key)
    status, set_by = parts.get("status"), parts.get("set_by")
    if "status" in parts and status not in STATUSES:
        text = f"{shown(status)}; allowed: {', '.join(STATUSES)}"
        problems.append(Problem(leaf.entries["status"][0], f"{knob.key}.status", text))
    if "set_by" in parts and set_by != knob.set_by:
        text = f'{shown(set_by)}; the schema says this knob is set by "{knob.set_by}"'
        problems.append(Problem(leaf.entries["set_by"][0], f"{knob.key}.set_by", text))
    if len(problems) > before or knob.key in bad:
        return None
    return Provenance(cast("Status", status), knob.set_by, line)
