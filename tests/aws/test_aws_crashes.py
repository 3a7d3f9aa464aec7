"""Whatever call of the path on AWS is the last one, is refused, lost or answered late: the end is the same.

Real handlers with the environment that the template gives them, moto, and a SageMaker as strict as AWS
(`tests.aws.explore`). Every cut is a run of its own; the bus, the catalogue and what costs money are part of the end.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


def explored(scenario: str, mishap: str, every: int) -> tuple[dict, dict, dict]:
    """Return the undisturbed end, the ends by where the path was cut, and the counts."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.aws.explore", scenario, mishap, str(every)]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=850)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(('{"place"', '{"calls"'))]
    *ends, counts = lines
    by_place = {line["place"]: line["outcome"] for line in ends}
    assert counts["lost"] == 0, done.stderr[-3000:]
    return by_place.pop("undisturbed"), by_place, counts


def different(ends: dict, expected: dict) -> dict:
    """Return where it ended otherwise, and in what."""
    return {
        place: {name: (was, expected[name]) for name, was in end.items() if was != expected[name]}
        for place, end in ends.items()
        if end != expected
    }


ENDS = {
    "first": ({"m/1": 100}, ["m/1 promoted"]),
    "good": ({"m/2": 100}, ["m/1 promoted", "m/2 promoted"]),
    "sick": ({"m/1": 100}, ["m/1 promoted", "m/sick rolled_back"]),
}


# Every death; of the other mishaps each third or sixth: all of them take minutes more, by hand with EVERY left out.
@pytest.mark.parametrize(
    ("scenario", "mishap", "every"),
    [
        ("first", "dies", 1),
        ("good", "dies", 1),
        ("sick", "dies", 1),
        ("first", "throttled", 3),
        ("first", "answer lost", 6),
        ("sick", "answer lost", 6),
        ("sick", "stale", 6),
    ],
)
def test_wherever_the_path_is_cut_it_ends_as_undisturbed(scenario, mishap, every):
    expected, ends, counts = explored(scenario, mishap, every)
    assert (expected["split"], expected["rollouts"]) == ENDS[scenario]
    assert (expected["endpoints"], expected["models"], expected["copies that no version names"]) == (1, 1, 0)
    assert counts["cuts"] >= len(ends) >= 1
    assert different(ends, expected) == {}
