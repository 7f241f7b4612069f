"""A contract of an older schema is read as it was meant, keeps its digest, and carries no new release."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ecdd.cli import app as cli
from ecdd.contract.loading import ContractError, load_contract
from ecdd.contract.upgrading import SCHEMA_VERSION

OLD = Path(__file__).parents[1] / "release" / "fixtures" / "released" / "policy_contract.yaml"
# as the bundle of that contract was signed
OLD_DIGEST = yaml.safe_load((OLD.parent / "release" / "approval.json").read_text(encoding="utf-8"))["contract_digest"]


def test_the_old_digest_is_kept() -> None:
    contract = load_contract(OLD)
    assert contract.policy.schema_version < SCHEMA_VERSION
    assert contract.digest == OLD_DIGEST
    assert contract.policy.monitoring.playbook.keys() >= {"device_shift"}


def test_what_was_filled_in_stands_as_proposed() -> None:
    contract = load_contract(OLD)
    added = {key for key, value in contract.written.items() if value is None}
    assert "serving.max_connections" in added
    assert added <= set(contract.proposed)


def test_written_again_it_is_the_same_contract(tmp_path: Path) -> None:
    contract = load_contract(OLD)
    contract.dump(tmp_path / "contract.yaml")
    again = load_contract(tmp_path / "contract.yaml")
    assert again.digest == contract.digest
    assert again.written == contract.written


def test_a_filled_value_that_is_set_counts() -> None:
    contract = load_contract(OLD)
    changed = contract.with_values({"serving.max_connections": 512})
    assert changed.digest != contract.digest
    assert contract.with_values({}).digest == contract.digest


def test_the_newest_schema_asks_for_everything(tmp_path: Path) -> None:
    text = OLD.read_text(encoding="utf-8")
    newer = re.sub(r"schema_version: \{value: 1,", f"schema_version: {{value: {SCHEMA_VERSION},", text)
    assert newer != text
    (tmp_path / "contract.yaml").write_text(newer, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        load_contract(tmp_path / "contract.yaml")
    named = {problem.key for problem in caught.value.problems}
    assert named >= {"serving.max_connections", "monitoring.playbook", "dataset_governance.review_cycle_days"}


def test_upgraded_by_command_it_says_the_same_and_lacks_nothing(tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    done = CliRunner().invoke(cli, ["contract", "upgrade", str(OLD), "--out", str(new)])
    before, after = load_contract(OLD), load_contract(new)
    assert done.exit_code == 0
    assert after.filled_in == set()
    assert set(after.proposed) == set(before.proposed)
    assert before.filled_in <= set(after.proposed)
    assert after.values == {**before.values, "schema_version": SCHEMA_VERSION}
