"""Write the names that `torch.load(weights_only=True)` of the installed Torch allows, and NumPy's scalars and arrays.

Run with the frameworks installed: `python tools/dump_torch_globals.py > chalicelib/domain/formats/torch_globals.py`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import _weights_only_unpickler as unpickler

HEAD = '''\
"""The globals that a pickle may name: data from Torch {torch} and NumPy {numpy}.

Written by tools/dump_torch_globals.py.
"""

from typing import Final
'''


def torch_names() -> list[str]:
    return sorted(unpickler._get_allowed_globals())  # noqa: SLF001  # Torch publishes the list nowhere else


def numpy_names() -> list[str]:
    """Return what arrays and scalars of NumPy 1 and 2 are rebuilt with, and the types of scalars."""
    core = (f"numpy.{core}.{name}" for core in ("core", "_core") for name in _REBUILT)
    scalars = (f"numpy.{t.__name__}" for t in set(np.sctypeDict.values()))
    dtypes = (f"numpy.dtypes.{name}" for name in dir(np.dtypes) if name.endswith("DType"))
    return sorted({*core, *scalars, *dtypes, "numpy.ndarray", "numpy.dtype", "numpy.bool_"})


_REBUILT = ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")


def _tuple(name: str, values: Iterable[str]) -> Iterator[str]:
    yield f"\n{name}: Final = frozenset(\n    {{"
    yield from (f'        "{value}",' for value in values)
    yield "    }\n)"


if __name__ == "__main__":
    print(HEAD.format(torch=torch.__version__.split("+")[0], numpy=np.__version__), end="")
    print("\n".join([*_tuple("TORCH", torch_names()), *_tuple("NUMPY", numpy_names())]))
