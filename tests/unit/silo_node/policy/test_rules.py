import os

import pytest

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy.limits import CLOSING
from silo_node.policy.rules import OwnerRules


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "policy.cedar").write_text(catalogue.policy_text("baseline"))
    (tmp_path / "limits.toml").write_text(f"max_epsilon = 1.0\n{CLOSING}")
    return OwnerRules(tmp_path / "policy.cedar", tmp_path / "limits.toml")


def test_files_that_stay_as_they_are_are_read_once(rules):
    assert rules.gate is rules.gate
    assert rules.limits.max_epsilon == 1.0


def test_a_changed_limit_holds_from_the_next_decision_on(rules, tmp_path):
    before = rules.gate
    (tmp_path / "limits.toml").write_text(f"max_epsilon = 2.5\n{CLOSING}")
    assert rules.limits.max_epsilon == 2.5
    assert rules.gate is not before


@pytest.mark.parametrize("text", ["max_epsilon = -1.0\n", "max_epsilom = 1.0\n", "not toml", ""])
def test_a_file_that_cannot_be_used_leaves_no_rules_in_force_until_it_is_mended(rules, tmp_path, text):
    assert rules.limits.max_epsilon == 1.0
    (tmp_path / "limits.toml").write_text(text + CLOSING if text else text)
    for _ in range(2):
        with pytest.raises(PolicyRefused):
            _ = rules.gate
    (tmp_path / "limits.toml").write_text(f"max_epsilon = 3.0\n{CLOSING}")
    assert rules.limits.max_epsilon == 3.0


def test_a_missing_file_is_refused_with_its_name(rules, tmp_path):
    os.remove(tmp_path / "policy.cedar")
    with pytest.raises(PolicyRefused, match=r"policy\.cedar"):
        _ = rules.gate


def test_a_text_that_changes_within_its_size_and_time_is_seen(rules, tmp_path):
    path = tmp_path / "limits.toml"
    before = path.stat()
    assert rules.limits.max_epsilon == 1.0
    path.write_text(f"max_epsilon = 0.5\n{CLOSING}")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert rules.limits.max_epsilon == 0.5


def test_a_file_that_anybody_may_change_from_now_on_is_not_used_any_more(rules, tmp_path):
    assert rules.gate
    (tmp_path / "policy.cedar").chmod(0o666)
    with pytest.raises(PolicyRefused, match="chmod o-w"):
        _ = rules.gate


def test_gate_and_limits_are_of_one_moment(rules, tmp_path):
    gate, limits = rules.current()
    (tmp_path / "limits.toml").write_text(f"max_epsilon = 2.0\n{CLOSING}")
    assert (gate, limits) != rules.current()
    assert limits.max_epsilon == 1.0
