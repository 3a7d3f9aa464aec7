"""The demo, whole: real models trained, dropped, promoted and rolled back, as a newcomer sees it first."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform_world import environment

pytestmark = [pytest.mark.alone, pytest.mark.timeout(400)]

DEMO = Path(__file__).parents[2] / "examples" / "digits" / "demo.py"


def test_the_demo_comes_out_on_the_embedded_store(tmp_path):
    command = [sys.executable, str(DEMO), "--store", "embedded", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "in memory" in done.stdout
    assert "make minio" in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary
    assert (tmp_path / "rollout.png").stat().st_size > 10_000
    assert (tmp_path / "rollout.svg").read_text().startswith("<?xml")
