"""The example CI jobs, step by step as their files say, against a live platform with apps that call it."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.examples.ci_runner import Runner
from tests.platform_world import Load, environment, platform

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ci"
PACE = ("--step-time", "1", "--min-requests", "15", "--quiet-period", "0.5", "--steps", "30,100")
FLATS = {"instances": [[45], [120]]}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("platform") / "home", *PACE, store="embedded") as started:
        yield started


@pytest.fixture
def project(tmp_path):
    """A model's repository: the example as it is."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "project"))


def sha(text):
    return hashlib.sha1(text.encode()).hexdigest()


class Ci:
    """A CI system that runs the job of each commit."""

    def __init__(self, running, project, system):
        self._project = project
        self._system = system
        variables = {"MODELDROP_URL": running.url, "MODELDROP_PACKAGE": "modeldrop"}  # which is installed already
        ca = running.connection["ca"]
        own = {"MODELDROP_CA_PEM": Path(ca).read_text()} if system == "github" else {"MODELDROP_CA": ca}
        secrets = {"MODELDROP_KEY": running.key("upload:rents")["key"]}
        # A runner knows nothing of the platform but what the project's settings say.
        home = {"HOME": str(project), "MODELDROP_HOME": str(project / "nothing-here"), "PIP_NO_INDEX": "1"}
        self._runner = Runner(project, {**variables, **own}, secrets, environment(**home))

    def commit(self, what, **files):
        for name, text in files.items():
            (self._project / f"{name}.py").write_text(text)
        file = self._project / ("github-actions.yml" if self._system == "github" else "gitlab-ci.yml")
        return getattr(self._runner, self._system)(file, sha(f"{self._system} {what}"))


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_good_version_is_promoted_and_a_bad_one_fails_the_build_with_the_verdicts_reason(running, project, system):
    ci = Ci(running, project, system)
    first = ci.commit("the first of this system") if running.serving("rents") == "" else None
    assert first is None or (first.status, "promoted" in first.log) == (0, True), first.log
    with Load(running, "rents", per_second=40, body=FLATS) as apps:
        good = ci.commit("rounds to whole euros", predictor=edited(project, "size, 2)", "size)"))
        assert (good.status, "promoted" in good.log) == (0, True), good.log
        assert running.serving("rents") == sha(f"{system} rounds to whole euros")
        bad = ci.commit(
            "can't do large flats",
            predictor=edited(project, "return round(", "assert size < 100\n        return round("),
        )
        assert bad.status == 1, bad.log
        assert "14 flats" in bad.log
        last = bad.log.strip().splitlines()[-1]
        assert "rolled_back" in last
        assert "errors in" in last
        assert ("::error title=" in bad.log) == (system == "github")  # which shows it on the run's page
        assert running.serving("rents") == sha(f"{system} rounds to whole euros")
    assert [a for a in apps.failed if a.version != sha(f"{system} can't do large flats")] == []


def edited(project, old, new):
    text = (project / "predictor.py").read_text()
    assert old in text
    return text.replace(old, new)


def test_secrets_are_in_the_environment_and_in_no_command():
    for name in ("github-actions.yml", "gitlab-ci.yml"):
        text = (EXAMPLE / name).read_text()
        assert "MODELDROP_KEY" not in text.replace("MODELDROP_KEY: ${{ secrets.MODELDROP_KEY }}", "")


def test_a_platform_that_cant_be_reached_fails_the_build(tmp_path, project):
    ci = Runner(
        project,
        {"MODELDROP_URL": "https://127.0.0.1:1", "MODELDROP_PACKAGE": "modeldrop"},
        {"MODELDROP_KEY": "md_x"},
        environment(MODELDROP_HOME=str(tmp_path), PIP_NO_INDEX="1"),
    )
    ended = ci.gitlab(project / "gitlab-ci.yml", sha("any"))
    assert (ended.status, "can't reach the platform" in ended.log) == (4, True), ended.log
