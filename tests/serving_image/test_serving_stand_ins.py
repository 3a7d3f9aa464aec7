"""A library linked to CUDA's loads without them: `serving_image/cpu_torch.py` puts others in their place."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cpu_torch import NVIDIA

SCRIPT = Path(__file__).parents[2] / "serving_image/cpu_torch.py"
pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("readelf")), reason="stand-ins are built with gcc and binutils"
)
REAL = "int cublasCreate_v2(void *handle) { return 0; } int cublasUnused(void) { return 0; }"
TORCH = """
int cublasCreate_v2(void *handle);
const char *ncclGetErrorString(int status);
int create(void) { return cublasCreate_v2(0); }
const char *text(void) { return ncclGetErrorString(1); }
"""


def compiled(path: Path, source: str, *options: str) -> Path:
    path.with_suffix(".c").write_text(source)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, path.with_suffix(".c"), *options], check=True)
    return path


@pytest.fixture
def venv(tmp_path):
    """PyTorch's shape: a library linked to NVIDIA's, one with versions, one without; NVIDIA's have gone since."""
    lib, elsewhere = tmp_path / "lib/python3.11/site-packages/torch/lib", tmp_path / "elsewhere"
    lib.mkdir(parents=True)
    elsewhere.mkdir()
    versions = elsewhere / "versions"
    versions.write_text("libcublas.so.13 { cublas*; };")
    cublas = compiled(
        elsewhere / "libcublas.so.13", REAL, "-Wl,-soname,libcublas.so.13", f"-Wl,--version-script={versions}"
    )
    nccl = compiled(
        elsewhere / "libnccl.so.2",
        "const char *ncclGetErrorString(int s) { return 0; }",
        "-Wl,-soname,libnccl.so.2",
    )
    compiled(lib / "libtorch_cuda.so", TORCH, str(cublas), str(nccl), "-Wl,-rpath,$ORIGIN")
    shutil.rmtree(elsewhere)
    return tmp_path


def library(venv: Path) -> Path:
    return venv / "lib/python3.11/site-packages/torch/lib/libtorch_cuda.so"


# In a process of its own: in ours, Torch may have loaded the real ones under the same names.
CALLS = """
import ctypes, sys
loaded = ctypes.CDLL(sys.argv[1])
loaded.text.restype = ctypes.c_char_p
print(loaded.create(), loaded.text().decode())
"""


def called(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CALLS, path], check=False, capture_output=True, text=True)


def test_what_the_loader_demands_is_there_and_a_call_is_an_error(venv):
    before = called(library(venv))
    assert before.returncode
    assert "libcublas.so.13" in before.stderr
    done = subprocess.run([sys.executable, SCRIPT, venv], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "libcublas.so.13: a stand-in with 1 symbols",
        "libnccl.so.2: a stand-in with 1 symbols",
    ]
    after = called(library(venv))
    assert after.stdout == "1 this image's PyTorch runs on the CPU alone; take the pytorch-cuda image\n", after.stderr


def test_what_is_installed_is_left_alone(venv):
    real = venv / "lib/python3.11/site-packages/nvidia/cu13/lib"
    real.mkdir(parents=True)
    (real / "libcudart.so.13").write_bytes(b"the real one")
    (real / "libnvperf_host.so").write_bytes(b"never loaded")
    subprocess.run([sys.executable, SCRIPT, venv], check=True, capture_output=True)
    assert [path.name for path in real.iterdir()] == ["libcudart.so.13"]
    assert not (library(venv).parent / "libcudart.so.13").exists()


def test_a_build_for_the_cpu_needs_none(tmp_path):
    lib = tmp_path / "lib/python3.11/site-packages/torch/lib"
    lib.mkdir(parents=True)
    compiled(lib / "libtorch_cpu.so", "int answer(void) { return 42; }")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], check=True, capture_output=True, text=True)
    assert done.stdout == ""


def test_the_machines_own_driver_is_never_replaced():
    assert NVIDIA.fullmatch("libcudart.so.13")
    assert not NVIDIA.fullmatch("libcuda.so.1")
