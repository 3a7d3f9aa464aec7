"""Let a CUDA build of PyTorch run without CUDA's libraries: `python cpu_torch.py /opt/venv`, while an image is built.

Where no index with PyTorch's CPU build can be reached, there is only the build for CUDA. Its libraries are linked to
gigabytes of others, which the loader demands at `import torch` and a CPU never calls. Here each one that isn't
installed is replaced by a library of the same name and with the functions that PyTorch asks for: they report an error,
as the real ones would without a device. Nothing of PyTorch's is changed.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# The driver, libcuda.so.1, is the machine's own: PyTorch looks for it by itself, and works without.
NVIDIA = re.compile(r"lib(?!cuda\.so)(cu|nv|nccl).*\.so\.\d+")
# Whose symbols carry no version says it by their first letters.
FAMILIES = {"cusparseLt": "libcusparseLt.so", "nccl": "libnccl.so", "cuFile": "libcufile.so", "nvshmem": "libnvshmem"}
# These are small, and PyTorch calls them without a device too: to register its kernels, and to profile.
REAL = ("libcudart.so.", "libcupti.so.")
MESSAGE = "this image's PyTorch runs on the CPU alone; take the pytorch-cuda image"


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str
    version: str  # empty where the library gives none
    is_data: bool = False

    @property
    def definition(self) -> str:
        """An error's text, an error's number, or room."""
        if self.is_data:
            return f"char {self.name}[4096];"
        if self.name.endswith(("String", "LastError", "Name")):
            return f'const char *{self.name}(void) {{ return "{MESSAGE}"; }}'
        return f"long {self.name}(void) {{ return 1; }}"


def needed(library: Path) -> list[str]:
    """Which of NVIDIA's libraries this one is linked to."""
    names = re.findall(r"\(NEEDED\).*\[(.+)\]", _readelf("-d", library))
    return [name for name in names if NVIDIA.fullmatch(name)]


def undefined(library: Path) -> Iterator[Symbol]:
    """What this library takes from others; a line is `1: 0 0 FUNC GLOBAL DEFAULT UND name@VERSION (2)`."""
    for line in _readelf("--dyn-syms", library).splitlines():
        fields = line.split()
        if len(fields) > 7 and fields[6] == "UND" and fields[4] == "GLOBAL":  # noqa: PLR2004 - the columns above
            name, _, version = fields[7].partition("@")
            yield Symbol(name, version, is_data=fields[3] == "OBJECT")


def owner(symbol: Symbol, libraries: Iterable[str]) -> str | None:
    """The library of a symbol: the one its version names, or the one of its family."""
    libraries = list(libraries)
    if symbol.version in libraries:
        return symbol.version
    family = next((start for name, start in FAMILIES.items() if symbol.name.startswith(name)), None)
    return next((name for name in libraries if family and name.startswith(family)), None)


def stand_ins(folder: Path, installed: set[str]) -> dict[str, set[Symbol]]:
    """The libraries that are missing, each with what is asked of it."""
    asked: dict[str, set[Symbol]] = defaultdict(set)
    for library in folder.glob("*.so*"):
        missing = [name for name in needed(library) if name not in installed]
        for name in missing:
            asked[name]  # one that gives nothing but its name is demanded too
        for symbol in undefined(library):
            if library_name := owner(symbol, missing):
                asked[library_name].add(symbol)
    return asked


def build(name: str, symbols: set[Symbol], folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, versions = Path(scratch, "source.c"), Path(scratch, "versions")
        source.write_text("\n".join(symbol.definition for symbol in sorted(symbols, key=lambda each: each.name)))
        versions.write_text("".join(_nodes(symbols)))
        script = [f"-Wl,--version-script={versions}"] if versions.stat().st_size else []
        options = ["-shared", "-fPIC", "-Os", "-s", "-fno-builtin", "-nostdlib", f"-Wl,-soname,{name}", *script]
        subprocess.run(["gcc", *options, "-o", folder / name, source], check=True)


def _nodes(symbols: set[Symbol]) -> Iterator[str]:
    for version in sorted({symbol.version for symbol in symbols} - {""}):
        names = "".join(f"{symbol.name};" for symbol in symbols if symbol.version == version)
        yield f"{version} {{ {names} }};\n"


def _readelf(option: str, library: Path) -> str:
    return subprocess.run(["readelf", "-W", option, library], check=True, capture_output=True, text=True).stdout


def main() -> int:
    (site_packages,) = Path(sys.argv[1]).glob("lib/python3.*/site-packages")
    for path in [path for path in site_packages.glob("nvidia/**/*") if path.is_file()]:
        if not path.name.startswith(REAL):
            path.unlink()
    installed = {library.name for library in site_packages.glob("nvidia/**/*.so.*")}
    folder = site_packages / "torch/lib"
    for name, symbols in sorted(stand_ins(folder, installed).items()):
        print(f"{name}: a stand-in with {len(symbols)} symbols")
        build(name, symbols, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
