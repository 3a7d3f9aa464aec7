"""The environment of a replica: built, nothing inherited."""

from collections.abc import Mapping
from pathlib import Path

from chalicelib.domain.deployment import Deployment

# Which GPUs there are is the host's to say; LD_LIBRARY_PATH is how some hosts lead to the driver.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "LD_LIBRARY_PATH")


def replica_environment(
    deployment: Deployment,
    *,
    model: Path,
    socket: Path,
    scratch: Path,
    server_path: Path,
    threads: int,
    gpu: Mapping[str, str],
    drain_s: float,
) -> dict[str, str]:
    """Return every variable of a replica. Wishes of the deployment win over defaults and lose against the contract."""
    process = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "USER": "replica",
        "LOGNAME": "replica",
        "PYTHONPATH": str(server_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    contract = server_environment(deployment, model=model, socket=socket, threads=threads, drain_s=drain_s)
    return {**DEFAULTS, **deployment.resources.environment, **gpu, **process, **contract}


# What a deployment may wish otherwise. How a model computes on its cores, the serving image decides.
DEFAULTS: Mapping[str, str] = {"TF_CPP_MIN_LOG_LEVEL": "1"}


def server_environment(
    deployment: Deployment, *, model: Path, socket: Path, threads: int, drain_s: float
) -> dict[str, str]:
    """Return what the serving image is told, wherever it runs."""
    return {
        "MODEL_DIR": str(model),
        "MODELDROP_UDS": str(socket),
        "MODELDROP_MODEL_NAME": deployment.ref.model_id,
        "MODELDROP_THREADS": str(threads),
        "MODELDROP_DEVICE": "auto",
        "MODELDROP_DRAIN_TIMEOUT_S": str(0.8 * drain_s),  # so that it ends by itself, before it is killed
    }


def gpu_variables(host: Mapping[str, str], *, has_gpu: bool) -> dict[str, str]:
    """Return what the host says about its GPUs; nothing where it has none."""
    return {name: host[name] for name in GPU_VARIABLES if name in host} if has_gpu else {}
