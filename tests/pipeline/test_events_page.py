"""The page on events names every kind that the code tells with the fields of its data, and none that it doesn't."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.domain.event_data import KINDS
from chalicelib.domain.rollout import ENDS, Phase
from tests.event_check import check_document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text()
KIND = re.compile(r"(?:drop|version|rollout|endpoint|deployment|copy|webhook)\.[a-z_]+")


def told_by_the_code() -> set[str]:
    quoted = re.compile(rf'"({KIND.pattern})"')
    code = ROOT / "chalicelib"
    sources = [code / "domain" / "carry_out.py", *(code / "pipeline").glob("*.py")]
    literal = {kind for source in sources for kind in quoted.findall(source.read_text())}
    return literal | {f"rollout.{phase}" for phase in ENDS - {Phase.PROMOTED}}


def rows() -> dict[str, str]:
    """Return what the page says of each kind's data."""
    cells = [[cell.strip() for cell in line.split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
    return {row[1].strip("`"): row[3] for row in cells}


def test_the_page_and_the_code_name_the_same_kinds():
    assert set(rows()) == set(KINDS) == told_by_the_code()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_the_fields_of_a_kinds_data_and_those_that_may_be_missing_in_brackets(kind):
    may_lack = set(re.findall(r"\[`(\w+)`\]", rows()[kind]))
    assert set(re.findall(r"`(\w+)`", rows()[kind])) - may_lack == KINDS[kind].__required_keys__
    assert may_lack == KINDS[kind].__optional_keys__


def test_the_event_that_the_page_shows_is_one():
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        check_document(json.loads(block))
