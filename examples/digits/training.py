"""The three trainings, each a process of its own, all at once: each is ready by the time it is dropped."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS: Mapping[str, str] = {"v1": "train_torch.py", "v2": "train_keras.py", "v3": "train_broken.py"}

NICE: Mapping[str, int] = {"v1": 0, "v2": 2, "v3": 10}


class TrainingFailed(Exception):
    """A training script ended with an error, which the message ends with."""


@dataclass
class Trainings:
    """Started together; `result` waits for one of them."""

    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> "Trainings":
        for version, script in SCRIPTS.items():
            # What is dropped first comes first, also where there are fewer processors than trainings.
            command = [
                "nice",
                "-n",
                str(NICE[version]),
                sys.executable,
                str(HERE / script),
                str(self.artifact(version)),
            ]
            with self.log(version).open("wb") as log:
                self._running[version] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        return self

    def artifact(self, version: str) -> Path:
        """Return the folder that holds a version's files as they are to be uploaded."""
        return self.folder / version

    def log(self, version: str) -> Path:
        return self.folder / f"train-{version}.log"

    def result(self, version: str) -> str:
        """Wait for a training and return the line that it ended with; raises TrainingFailed."""
        status = self._running[version].wait()
        said = self.log(version).read_text(errors="replace").strip()
        if status:
            raise TrainingFailed(f"{SCRIPTS[version]} ended with status {status}:\n{said[-3000:]}")
        return said.splitlines()[-1].rpartition(": ")[2]

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
