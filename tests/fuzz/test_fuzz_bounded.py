"""Fuzzed for seconds each, the readers of uploads neither crash, nor hang, nor take more memory than is bounded."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS, imported
from tests.validation.conftest import built, exports, weights  # noqa: F401 - fixtures

PROGRAM = Path(__file__).parents[2] / "tools" / "fuzz.py"
SECONDS = os.environ.get("FUZZ_SECONDS", "3")
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no build for this machine"
)


@pytest.fixture
def seeded(tmp_path, built):  # noqa: F811 - a fixture
    """A folder of seeds for each target, also of what the exporters built."""
    for target in TARGETS:
        (tmp_path / target).mkdir()
        assert write_seeds(target, tmp_path / target, built)
    return tmp_path


@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_breaks_a_reader_within_seconds_of_fuzzing(target, seeded):
    # Linux starts a program's peak memory with that of who started it: a small shell, and not this large process.
    small = ["sh", "-c", '"$@"; exit $?', "sh"]
    program = [*small, sys.executable, PROGRAM, target, "--seconds", SECONDS, "--keep", seeded]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    broke = [f"{p.name}: {p.read_bytes()[:2000]!r}" for p in (seeded / target).glob("broke-*")]
    assert (done.returncode, broke) == (0, []), done.stdout[-4000:] + done.stderr[-4000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs is not None
    assert int(runs[1]) > len(list((seeded / target).iterdir())) // 2


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_read_and_so_are_its_first_halves(target, seeded):
    for path in (seeded / target).iterdir():
        body = path.read_bytes()
        TARGETS[target](body)
        TARGETS[target](body[: len(body) // 2])


def test_pickles_are_held_to_what_python_would_import():
    assert imported(b"cos\nsystem\n(S'true'\ntR.") == {"os.system"}
    assert imported(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.") == {"os.system"}
    assert imported(b"cos\nsystem\n") is None


@needs_atheris
def test_a_reader_that_breaks_is_noticed(tmp_path):
    """The program's own test: a target that refuses one byte ends with what broke it."""
    breaks = tmp_path / "breaks.py"
    breaks.write_text(
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(PROGRAM.parents[1])!r})\n"
        "import tests.fuzz.targets\n"
        "def breaking(body):\n    assert b'PK' not in body\n"
        "tests.fuzz.targets.TARGETS['zips'] = breaking\n"
        f"sys.argv = [{str(PROGRAM)!r}, 'zips', '--seconds', '5', '--keep', {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, breaks], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert list((tmp_path / "zips").glob("broke-crash-*")), done.stderr[-2000:]
