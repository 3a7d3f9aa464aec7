"""The dependency layer has the versions that everything here is tested with, and all of its closure."""

from importlib.metadata import requires

from packaging.requirements import Requirement

from tests.aws.package_world import ROOT

DEPENDENCIES = ROOT / "layers" / "dependencies"
IN_THE_RUNTIME = {"botocore"}
# Chalice's command line and deployer, which the layer leaves out.
NEVER_IMPORTED = {"chalice": {"click", "inquirer", "pip", "pyyaml", "setuptools", "six", "wheel"}}


def _pins(path):
    lines = (line.split(" ;")[0] for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_layer_has_the_versions_that_are_tested():
    everything = _pins(ROOT / "constraints.txt")
    layer = _pins(DEPENDENCIES / "requirements.txt")
    assert layer == {name: everything[name] for name in layer}


def test_the_pins_are_of_all_that_the_layer_names():
    named = {line for line in (DEPENDENCIES / "requirements.in").read_text().splitlines() if line[0] != "#"}
    assert set(_pins(DEPENDENCIES / "requirements.txt")) == named


def test_the_layer_is_closed():
    layer = set(_pins(DEPENDENCIES / "requirements.txt"))
    needed = {(name, need) for name in layer for need in _needs(name) if need not in NEVER_IMPORTED.get(name, ())}
    assert {(name, need) for name, need in needed if need not in layer | IN_THE_RUNTIME} == set()


def _needs(name):
    wanted = map(Requirement, requires(name) or [])
    runtime = {"python_version": "3.13", "python_full_version": "3.13.0", "extra": ""}
    return {need.name.lower().replace("_", "-") for need in wanted if not need.marker or need.marker.evaluate(runtime)}
