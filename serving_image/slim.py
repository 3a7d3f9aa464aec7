"""Make what pip installed smaller: what only builds, tests or debugs a library goes, and bytecode is written once.

Run while an image is built: `python slim.py /opt/venv`. The bytecode is not checked against its source's time, for a
layer's times are not those of the installation.
"""

import compileall
import shutil
import subprocess
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
    "numpy/*/tests",
    "sympy/*/tests",
    "sympy/*/*/tests",
    "networkx/**/tests",
    "matplotlib/tests",
    "mpl_toolkits/*/tests",
    "ts/frontend",
)
# The frameworks' own libraries hold hundreds of MB of names that only a debugger reads. Small ones aren't worth it.
STRIPPED = ("torch/lib/lib*.so*", "tensorflow/lib*.so*")
LARGE = 20_000_000  # bytes


def unused(site_packages: Path) -> Iterator[Path]:
    for pattern in UNUSED:
        yield from site_packages.glob(pattern)


def large_libraries(site_packages: Path) -> Iterator[Path]:
    found = (path for pattern in STRIPPED for path in site_packages.glob(pattern))
    return (path for path in found if not path.is_symlink() and path.stat().st_size > LARGE)


def main() -> int:
    (site_packages,) = Path(sys.argv[1]).glob("lib/python3.*/site-packages")
    for path in list(unused(site_packages)):
        shutil.rmtree(path)
    for library in large_libraries(site_packages):
        subprocess.run(["strip", "--strip-unneeded", library], check=True)
    return 0 if compiled(site_packages) else 1


def compiled(folder: Path) -> bool:
    """Compile all; a library may carry files for other Pythons, which are no error of ours."""
    compileall.compile_dir(folder, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return any(folder.rglob("*.pyc"))


if __name__ == "__main__":
    sys.exit(main())
