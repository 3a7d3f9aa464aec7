"""Runs a CI job's file as its CI would: the steps as plain shell, with the variables and secrets that were set.

Only what the examples use is known; anything else in a file is an error here, so that no step is skipped silently.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

GIVEN_ACTIONS = {"actions/checkout", "actions/setup-python"}  # the caller gives the folder and the Python
EXPRESSION = re.compile(r"\$\{\{ *(vars|secrets)\.(\w+) *\}\}")


@dataclass
class Ended:
    status: int
    log: str


@dataclass
class Runner:
    """`variables` and `secrets` are those that a project has set, `folder` its checkout, `env` the runner's own."""

    folder: Path
    variables: dict[str, str]
    secrets: dict[str, str]
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def github(self, file: Path, sha: str) -> Ended:
        """Run a workflow's only job, step after step, until one fails."""
        [job] = yaml.safe_load(file.read_text())["jobs"].values()
        temp = self.folder / "runner-temp"
        temp.mkdir(exist_ok=True)
        later = temp / "github-env"
        later.write_text("")
        env = {**self.env, "GITHUB_SHA": sha, "RUNNER_TEMP": str(temp), "GITHUB_ENV": str(later), "CI": "true"}
        env |= self._filled(job["env"]) | {"GITHUB_ACTIONS": "true"}
        done = Ended(0, "")
        for step in job["steps"]:
            if done.status == 0 and self._is_wanted(step):
                more = dict(line.split("=", 1) for line in later.read_text().splitlines())
                done = self._shell(step["run"], {**env, **more, **self._filled(step.get("env", {}))}, done.log)
        return done

    def gitlab(self, file: Path, sha: str) -> Ended:
        """Run a pipeline's only job: GitLab makes one script of `before_script` and `script`."""
        [job] = yaml.safe_load(file.read_text()).values()
        known = {"stage", "image", "rules", "resource_group", "timeout", "variables", "before_script", "script"}
        assert set(job) <= known
        env = {**self.env, **self.variables, **self.secrets, **job["variables"], "CI_COMMIT_SHA": sha, "CI": "true"}
        return self._shell("\n".join([*job["before_script"], *job["script"]]), {**env, "GITLAB_CI": "true"}, "")

    def _is_wanted(self, step: dict) -> bool:
        assert set(step) <= {"name", "uses", "with", "if", "env", "run"}
        if uses := step.get("uses"):
            assert uses.partition("@")[0] in GIVEN_ACTIONS
            return False
        return "if" not in step or bool(self._value(step["if"]))

    def _filled(self, env: dict[str, str]) -> dict[str, str]:
        return {name: self._value(text) for name, text in env.items()}

    def _value(self, text: str) -> str:
        filled = EXPRESSION.sub(lambda m: (self.variables if m[1] == "vars" else self.secrets).get(m[2], ""), text)
        assert "${{" not in filled, f"{text} isn't known here"
        return filled

    def _shell(self, script: str, env: dict[str, str], log: str) -> Ended:
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        return Ended(ran.returncode, log + ran.stdout)
