"""The page on events names every kind that the code tells, and none that it doesn't."""

import re
from pathlib import Path

from chalicelib.domain.rollout import OPEN, Phase

ROOT = Path(__file__).parents[2]
KIND = re.compile(r"(?:drop|version|rollout|endpoint|deployment)\.[a-z_]+")


def told_by_the_code() -> set[str]:
    quoted = re.compile(rf'"({KIND.pattern})"')
    sources = (ROOT / "chalicelib" / "pipeline").glob("*.py")
    literal = {kind for source in sources for kind in quoted.findall(source.read_text())}
    return literal | {f"rollout.{phase}" for phase in set(Phase) - OPEN - {Phase.PROMOTED, Phase.FAILED}}


def test_the_page_and_the_code_name_the_same_kinds():
    rows = [line for line in (ROOT / "docs" / "events.md").read_text().splitlines() if line.startswith("| `")]
    named = {kind for row in rows for kind in KIND.findall(row.split("|")[1])}
    assert named == told_by_the_code()
