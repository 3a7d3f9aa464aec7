"""A handler that the rules accept or refuse, TorchServe's own loader and the serving program accept or refuse alike."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from modelserver.handlers import DEFAULT_HANDLERS

from chalicelib.domain.formats.handler import OWN, UNSERVED, handler_finding

# Real TorchServe's loader on each module that is named: what it says of it.
LOADS = """\
import json, sys
from ts.model_loader import TsModelLoader

def said(name):
    try:
        TsModelLoader().load("model", sys.argv[1], name, None, 1)
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return ""

sys.path.insert(0, sys.argv[1])
print(json.dumps([said(name) for name in sys.argv[2:]]))
"""
HANDLES = "\n    def handle(self, data, context): ..."
LOADED = {
    f"class A:{HANDLES}": "AttributeError: 'A' object has no attribute 'initialize'",
    "class A:\n    def initialize(self, context): ...": "ValueError: Expect handle method in class",
    "class A: ...\nclass B: ...": "ValueError: Expected only one class",
    f"class A:{HANDLES}\n    def initialize(self, context): ...": "",
    f"class A:{HANDLES}\n    initialize = print": "",
    f"from of_mine import Base\nclass A(Base):{HANDLES}": "",
    f"class A:{HANDLES}\n    def __init__(self):\n        self.initialize = print": "",
    "def handle(data, context): ...": "",
}


def test_torchserve_loads_what_is_accepted_and_fails_on_what_isnt(tmp_path):
    (tmp_path / "of_mine.py").write_text("class Base:\n    def initialize(self, context): ...")
    for number, source in enumerate(LOADED):
        (tmp_path / f"h{number}.py").write_text(source)
    program = [sys.executable, "-c", LOADS, tmp_path, *(f"h{number}" for number in range(len(LOADED)))]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    for (source, expected), said in zip(LOADED.items(), json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert said.startswith(expected), source
        is_accepted = handler_finding("h.py", source.encode(), "handle") is None
        assert is_accepted is (not said) is (not expected), source


# What real TorchServe's service answers to a request, as its wire has it; it takes anything for its metrics.
ANSWERS = """\
import sys
from unittest.mock import MagicMock
from ts.model_loader import TsModelLoader

sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    service = TsModelLoader().load("model", sys.argv[1], name, None, 1, metrics_cache=MagicMock())
    service.set_cl_socket(None)
    data = {"name": "data", "value": b"x", "contentType": "text/plain"}
    print(bytes(service.predict([{"requestId": b"1", "parameters": [data]}])))
"""
METHOD = "\n    async def handle(self, data, context): return data"
WAITS = "import asyncio\ndef waits(f): return lambda *a: asyncio.run(f(*a))\n@waits\n"
ANSWERED = {
    "def handle(data, context): return ['x']": True,
    WAITS + "async def handle(data, context): return ['x']": True,
    "async def handle(data, context): return data": False,
    f"class A:\n    def initialize(self, context): ...{METHOD}": False,
}


def test_torchserve_answers_nothing_where_it_would_have_to_await(tmp_path):
    for number, source in enumerate(ANSWERED):
        (tmp_path / f"h{number}.py").write_text(source)
    program = [sys.executable, "-c", ANSWERS, tmp_path, *(f"h{number}" for number in range(len(ANSWERED)))]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    for (source, is_answered), answer in zip(ANSWERED.items(), done.stdout.splitlines(), strict=True):
        assert ("Prediction success" in answer) is is_answered, (source, answer)
        assert ("Invalid model predict output" in answer) is not is_answered
        assert (handler_finding("h.py", source.encode(), "handle") is None) is is_answered


def archivers_own():
    """Return the names of handlers that the archiver knows; importing it leaves a file open."""
    source = Path(find_spec("model_archiver").origin).with_name("model_packaging_utils.py").read_text()
    assigns = (s for s in ast.parse(source).body if isinstance(s, ast.Assign))
    return next(set(ast.literal_eval(s.value)) for s in assigns if ast.unparse(s.targets[0]) == "model_handlers")


def test_every_handler_that_torchserve_or_its_archiver_has_is_served_or_refused_with_a_reason():
    shipped = {p.stem for p in Path(find_spec("ts").origin).parent.glob("torch_handler/[a-z]*_*.py")}
    assert shipped | archivers_own() == {*OWN, *UNSERVED}
    assert set(OWN) == set(DEFAULT_HANDLERS)
