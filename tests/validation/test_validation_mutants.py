"""Each rule of validation is dropped once, and an artifact of the corpus is judged otherwise then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = Path(__file__).with_name("mutants.py")
# What these refuse is refused with the same code by another rule behind them; they stop early, or say it better.
BACKED = (
    "a block is shorter than its own list of restarts",
    "a function's captures are no numbers",
    "end record refers to a ZIP64 record",
    "it can't be inflated",
    "inflates past the",
    "inner archives inflate to",
    "its header and its data differ in size",
)
# Bounds of what one file may make us hold or do, which no small artifact comes to, and what other rules come before:
# tests/domain/test_format_bounds.py and, of graphs, test_format_saved_model_ops.py come to them.
BEYOND = (
    "directory is too large, or bytes follow",
    "it ends at byte",
    "it takes {entry.packed} bytes",
    "its directory has {length} bytes, more than",
    "its graph has more nodes",
    "nodes are wrong; the rest isn't shown",
    "there are bytes before its directory that belong to no entry",
    "where it ends can't be told",
)


@pytest.fixture(scope="module")
def tried(built):
    folders = (built.saved_models, built.exports, built.archives, built.weights)
    done = subprocess.run([sys.executable, MUTANTS, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_a_rule_that_is_dropped_changes_the_outcome_of_some_artifact(tried):
    assert tried["rules"] > 100
    assert [rule for rule in tried["survived"] if not any(said in rule for said in BACKED)] == []


def test_every_rule_is_come_to_by_some_artifact(tried):
    assert [rule for rule in tried["unreached"] if not any(said in rule for said in BEYOND)] == []
