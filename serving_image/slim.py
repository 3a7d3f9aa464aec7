"""Make what pip installed smaller: what only builds or tests a library goes, and bytecode is written once.

Run while an image is built: `python slim.py /opt/venv`. The bytecode is not checked against its source's time, for a
layer's times are not those of the installation.
"""

import compileall
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

# Headers, test suites, and libclang, which TensorFlow asks for and never loads.
UNUSED = (
    "clang",
    "*/include",
    "nvidia/*/include",
    "torch/test",
    "torch/bin",
    "numpy/*/tests",
    "sympy/*/tests",
    "sympy/*/*/tests",
    "networkx/**/tests",
    "matplotlib/tests",
    "mpl_toolkits/*/tests",
    "ts/frontend",
)


def unused(site_packages: Path) -> Iterator[Path]:
    for pattern in UNUSED:
        yield from site_packages.glob(pattern)


def main() -> int:
    (site_packages,) = Path(sys.argv[1]).glob("lib/python3.*/site-packages")
    for path in list(unused(site_packages)):
        shutil.rmtree(path)
    return 0 if compiled(site_packages) else 1


def compiled(folder: Path) -> bool:
    """Compile all; a library may carry files for other Pythons, which are no error of ours."""
    compileall.compile_dir(folder, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return any(folder.rglob("*.pyc"))


if __name__ == "__main__":
    sys.exit(main())
