"""What builds the image agrees with itself and with the pins that everything else is tested on; no image is built."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tools.image_base import default_base
from tools.image_engine import Engine
from tools.image_test import TARGETS

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "serving_image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()
LOCKS = sorted((IMAGE / "requirements").glob("*.txt"))
DOCKER = Engine(("docker", "build"), ("docker", "run"), ("docker",))


def pins(path: Path) -> dict[str, set[str]]:
    """Every version of a package; one may have several, for several Pythons."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        name, _, version = line.partition(" ;")[0].partition("==")
        found.setdefault(name, set()).add(version)
    return found


def stages(dockerfile: str) -> dict[str, str]:
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", dockerfile, re.MULTILINE)}


def test_there_is_one_list_for_each_target():
    assert [path.stem for path in LOCKS] == ["pytorch-cpu", "pytorch-cuda", "tensorflow-cpu", "tensorflow-cuda"]
    assert {stage for stage in stages(DOCKERFILE) if stages(DOCKERFILE)[stage] == "runtime"} == {p.stem for p in LOCKS}
    assert set(TARGETS.values()) == {path.stem for path in LOCKS if path.stem.endswith("-cpu")}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_library_has_a_version_and_it_is_the_one_that_is_tested(path):
    tested = pins(ROOT / "constraints.txt")
    # TensorFlow's small build and the CUDA that it is built for are in no environment but the image.
    tested["tensorflow-cpu"] = tested["tensorflow"]
    for name, versions in pins(path).items():
        assert all(versions), f"{name} has no version"
        assert name.endswith("-cu12") or versions == tested[name], name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_each_list_holds_what_is_asked_for(path):
    listed = pins(path)
    wanted = (IMAGE / "requirements" / "base.in").read_text().split()
    assert set(wanted) <= set(listed)


def imported(source: str) -> set[str]:
    """The top packages that a module imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_what_the_program_imports_is_installed():
    modules = set().union(*(imported(path.read_text()) for path in (IMAGE / "modelserver").rglob("*.py")))
    distributions = packages_distributions()
    wanted = {
        distributions[name][0].lower().replace("_", "-") for name in modules - sys.stdlib_module_names - {"modelserver"}
    }
    frameworks = {"tensorflow", "torch"}
    assert frameworks < wanted
    assert wanted - frameworks <= {*(IMAGE / "requirements/base.in").read_text().split()}


def test_the_cpu_list_of_pytorch_is_that_of_cuda_without_the_libraries_that_a_cpu_never_calls():
    cpu, cuda = ((IMAGE / "requirements" / f"pytorch-{kind}.txt").read_text().splitlines() for kind in ("cpu", "cuda"))
    assert set(cpu) < set(cuda)
    left_out = {line.partition("==")[0] for line in set(cuda) - set(cpu)}
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in left_out)
    assert {"nvidia-cuda-runtime", "nvidia-cuda-cupti"}.isdisjoint(left_out)


def test_what_all_images_share_is_said_once():
    said = re.findall(r"^(USER|ENTRYPOINT|EXPOSE|LABEL|HEALTHCHECK)\b", DOCKERFILE, re.MULTILINE)
    assert sorted(said) == ["ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "USER"]
    assert not re.search(r"^USER (0|root)\b", DOCKERFILE, re.MULTILINE)
    assert stages(DOCKERFILE)["python"] == "${BASE}"
    assert default_base(DOCKERFILE).startswith("python:3.")


def test_whatever_is_copied_is_there():
    for source in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        assert (IMAGE / source).exists(), source


def test_docker_publishes_the_port_that_the_container_listens_on():
    command = DOCKER.run_model("image", name="n", model=ROOT, port=9001, env={"AIP_HTTP_PORT": "9001"})
    assert command[:3] == ["docker", "run", "--detach"]
    assert "--publish=127.0.0.1:9001:9001" in command
    assert "--read-only" in command
    assert command[-1] == "image"
