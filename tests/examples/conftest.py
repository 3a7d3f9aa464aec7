"""The demo is a folder of scripts that import each other by name, as `python examples/digits/demo.py` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "digits"))
