"""Write chalicelib/domain/formats/graph_op_names.py: the ops that the installed TensorFlow knows, and their outputs.

    .venv/bin/python tools/dump_ops.py

Run it when the serving image's TensorFlow changes, and judge each new name: the test of the file says which it is.
"""

import textwrap
from collections import Counter
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

TARGET = Path(__file__).parents[1] / "chalicelib" / "domain" / "formats" / "graph_op_names.py"
PAGE = '''"""TensorFlow's ops and how many outputs each has, of its own registry, by tools/dump_ops.py: don't edit."""

TENSORFLOW = "{version}"  # the version that knows them
# After a colon how many outputs an op has where that isn't one: a sum of numbers and of attributes, which are a number
# or a list of types; `2*N` is the attribute N twice.
_OPS = """
{ops}
"""
_KNOWN = dict(op.partition(":")[::2] for op in _OPS.replace(" +", "+").replace("\\n+", "+").split())
OPS = frozenset(_KNOWN)
OUTPUTS = {{op: outputs for op, outputs in _KNOWN.items() if outputs}}
'''


def registered() -> list[op_def_pb2.OpDef]:
    """Return the installed TensorFlow's ops, without the ones that a processor's rewriter makes and no export holds."""
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return [op for op in ops.op if not op.name.startswith(("_Mkl", "__Mkl"))]


def outputs(op: op_def_pb2.OpDef) -> str:
    """Return how many outputs an op has, as the page says it; "" for one."""
    lists = [a.number_attr or a.type_list_attr for a in op.output_arg]
    fixed, counts = lists.count(""), Counter(filter(None, lists))
    terms = [str(fixed)] * bool(fixed or not counts) + [f"{n}*{name}" if n > 1 else name for name, n in counts.items()]
    return "" if terms == ["1"] else ":" + " +".join(terms)


def page() -> str:
    """Return the module's text."""
    ops = " ".join(op.name + outputs(op) for op in sorted(registered(), key=lambda op: op.name))
    return PAGE.format(version=tf.__version__, ops=textwrap.fill(ops, 118, break_long_words=False))


if __name__ == "__main__":
    TARGET.write_text(page())
