"""Write chalicelib/domain/formats/graph_op_names.py: the ops that the installed TensorFlow knows.

    .venv/bin/python tools/dump_ops.py

Run it when the serving image's TensorFlow changes, and judge each new name: the test of the file says which it is.
"""

import textwrap
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

TARGET = Path(__file__).parents[1] / "chalicelib" / "domain" / "formats" / "graph_op_names.py"
PAGE = '''"""The names of TensorFlow's ops, from its own registry, by tools/dump_ops.py: don't edit by hand."""

TENSORFLOW = "{version}"  # the version that knows them
_NAMES = """
{names}
"""
OPS = frozenset(_NAMES.split())
'''


def registered() -> list[op_def_pb2.OpDef]:
    """Return the installed TensorFlow's ops, without the ones that a processor's rewriter makes and no export holds."""
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return [op for op in ops.op if not op.name.startswith(("_Mkl", "__Mkl"))]


def page() -> str:
    """Return the module's text."""
    names = " ".join(sorted(op.name for op in registered()))
    return PAGE.format(version=tf.__version__, names=textwrap.fill(names, 118, break_long_words=False))


if __name__ == "__main__":
    TARGET.write_text(page())
