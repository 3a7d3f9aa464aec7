"""What builds and runs images here: Docker where its daemon answers, else Podman and Buildah, which need none.

Podman's flags are what it takes inside of a container or a small virtual machine too: no network of its own, builds in
a changed root, limits that are not above ours, and no systemd to time health checks.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
WITHOUT_DAEMON = ("podman", "buildah", "runc")
MODEL_IN_IMAGE = "/opt/ml/model"
DRAIN_S = 30


@dataclass(frozen=True, slots=True)
class Engine:
    """How to build an image, run a container, and say anything else, each as a command."""

    build: tuple[str, ...]
    run: tuple[str, ...]
    other: tuple[str, ...]

    def build_target(self, context: Path, *, target: str, tag: str, arguments: Mapping[str, str]) -> list[str]:
        values = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        return [*self.build, *values, "--target", target, "--tag", tag, str(context)]

    def run_model(self, image: str, *, name: str, model: Path, port: int, env: Mapping[str, str]) -> list[str]:
        """Read-only, without rights, with the model mounted read-only and only /tmp to write to."""
        values = [f"--env={name}={value}" for name, value in env.items()]
        mounts = ["--read-only", "--tmpfs=/tmp", f"--volume={model.resolve()}:{MODEL_IN_IMAGE}:ro"]
        rights = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
        publish = [] if "--network=host" in self.run else [f"--publish=127.0.0.1:{port}:{port}"]
        return [*self.run, "--detach", f"--name={name}", *mounts, *rights, *publish, *values, image]


def find_engine() -> Engine | None:
    """The engine of this machine; None where there is none."""
    if shutil.which("docker") and _answers("docker", "info"):
        return Engine(("docker", "build"), ("docker", "run"), ("docker",))
    if all(shutil.which(program) for program in WITHOUT_DAEMON):
        return _without_daemon()
    return None


def have(*programs: str) -> bool:
    """Whether all are here; root on a machine with apt gets what is missing."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"==> Installing {', '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)
    return all(shutil.which(program) for program in programs)


def _without_daemon() -> Engine:
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 4096)
    limits = (f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}")
    # A site's own certificates lie in this file; a build has to trust them to reach the site's package index.
    trust = (f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",) if CERTIFICATES.exists() else ()
    podman = ("podman", "--runtime=runc")
    return Engine(
        ("buildah", "bud", "--isolation=chroot", "--network=host", "--layers", "--format=docker", *trust),
        (*podman, "run", "--network=host", "--read-only-tmpfs=false", "--no-healthcheck", *limits),
        podman,
    )


def _answers(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
