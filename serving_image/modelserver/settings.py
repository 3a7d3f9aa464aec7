"""The environment, read once into one frozen object."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

MIB = 1024 * 1024
AUTOCASTS = ("off", "bfloat16", "float16")
SWITCH = ("off", "on")
DEVICES = ("auto", "cpu", "cuda")
MAX_PORT = 65535
SAGEMAKER_MODEL = "/opt/ml/model"
OCI_MODEL = "/opt/ds/model/deployed_model"
INSTALLS = ("never", "wheels", "index")
T = TypeVar("T", int, float)


class SettingsError(ValueError):
    """A variable that cannot be read; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    model_dir: Path = Path(SAGEMAKER_MODEL)
    model_name: str = "model"
    model_version: str = "1"
    uds: Path | None = None
    control_socket: Path | None = None
    host: str = "0.0.0.0"
    port: int = 8080
    health_route: str = "/health"
    predict_route: str = "/predict"
    oci_health_route: str = "/health"
    oci_predict_route: str = "/predict"
    device: str = "auto"
    autocast: str = "off"
    compile: str = "off"
    processes: int = 1
    threads: int = 1
    call_threads: int = 1
    max_body: int = 64 * MIB
    max_header: int = 64 * 1024
    max_batch: int = 32
    max_queue: int = 1024
    request_timeout_s: float = 60.0
    read_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0
    drain_timeout_s: float = 30.0
    install_requirements: str = "never"
    wheels: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read every variable; raise SettingsError that names the one that is wrong."""
        uds = env.get("MODELDROP_UDS")
        control = env.get("MODELDROP_CONTROL_SOCKET")
        health = _route(env, "AIP_HEALTH_ROUTE", "/health")
        predict = _route(env, "AIP_PREDICT_ROUTE", "/predict")
        wheels = env.get("MODELDROP_WHEELS")
        processes = _processes(env, alone=control is not None)
        return cls(
            model_dir=_model_dir(env).absolute(),
            model_name=_segment(env, "MODELDROP_MODEL_NAME", "model"),
            model_version=_segment(env, "MODELDROP_MODEL_VERSION", "1"),
            uds=Path(uds).absolute() if uds else None,
            control_socket=Path(control).absolute() if control else None,
            port=_port(env),
            health_route=health,
            predict_route=predict,
            oci_health_route=_route(env, "MODEL_DEPLOY_HEALTH_ENDPOINT", health),
            oci_predict_route=_route(env, "MODEL_DEPLOY_PREDICT_ENDPOINT", predict),
            device=_choice(env, "MODELDROP_DEVICE", DEVICES),
            autocast=_choice(env, "MODELDROP_AUTOCAST", AUTOCASTS),
            compile=_choice(env, "MODELDROP_COMPILE", SWITCH),
            processes=processes,
            threads=(threads := _number(env, "MODELDROP_THREADS", max(1, _cpus() // processes), int)),
            call_threads=min(threads, _number(env, "MODELDROP_CALL_THREADS", 1, int)),
            max_body=_number(env, "MODELDROP_MAX_BODY_BYTES", 64 * MIB, int),
            max_header=_number(env, "MODELDROP_MAX_HEADER_BYTES", 64 * 1024, int),
            max_batch=_number(env, "MODELDROP_MAX_BATCH", 32, int),
            max_queue=_number(env, "MODELDROP_MAX_QUEUE", 1024, int),
            request_timeout_s=_number(
                env, "MODELDROP_REQUEST_TIMEOUT_S", _number(env, "SAGEMAKER_MODEL_SERVER_TIMEOUT", 60.0, float), float
            ),
            read_timeout_s=_number(env, "MODELDROP_READ_TIMEOUT_S", 30.0, float),
            idle_timeout_s=_number(env, "MODELDROP_IDLE_TIMEOUT_S", 600.0, float),
            drain_timeout_s=_number(env, "MODELDROP_DRAIN_TIMEOUT_S", 30.0, float),
            install_requirements=_choice(env, "MODELDROP_INSTALL_REQUIREMENTS", INSTALLS),
            wheels=Path(wheels).absolute() if wheels else None,
        )


def _model_dir(env: Mapping[str, str]) -> Path:
    """Where the model lies: as we are told, as Vertex or OCI says it, else SageMaker's place."""
    if said := env.get("MODEL_DIR"):
        return Path(said)
    if uri := env.get("AIP_STORAGE_URI"):
        return _local(uri)
    return Path(OCI_MODEL if env.get("MODEL_DEPLOYMENT_OCID") else SAGEMAKER_MODEL)


def _local(uri: str) -> Path:
    """The folder that a URI names; raise SettingsError where it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if uri.startswith("/"):
        return Path(uri)
    message = f"AIP_STORAGE_URI is {uri!r}; only a local folder or file:// can be read"
    raise SettingsError(f"{message}: copy the model into the image or mount it, and say where in MODEL_DIR")


def _port(env: Mapping[str, str]) -> int:
    port = _number(env, "AIP_HTTP_PORT", _number(env, "SAGEMAKER_BIND_TO_PORT", 8080, int), int)
    if port > MAX_PORT:
        raise SettingsError(f"the port is {port}; it must be at most {MAX_PORT}")
    return port


def _segment(env: Mapping[str, str], name: str, default: str) -> str:
    """One segment of a path, as it stands in a URL."""
    value = env.get(name) or default
    if "/" in value or ":" in value:
        raise SettingsError(f"{name} is {value!r}; it must have no '/' and no ':'")
    return value


def _processes(env: Mapping[str, str], *, alone: bool) -> int:
    """As we are told, as SageMaker says it, else one."""
    count = _number(env, "MODELDROP_PROCESSES", _number(env, "SAGEMAKER_MODEL_SERVER_WORKERS", 1, int), int)
    if count > 1 and alone:
        message = "a second version is loaded into one process: set MODELDROP_CONTROL_SOCKET or MODELDROP_PROCESSES"
        raise SettingsError(f"{message} (now {count}), not both")
    return count


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _number(env: Mapping[str, str], name: str, default: T, kind: Callable[[str], T]) -> T:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; it must be a number") from None
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name} is {text}; it must be above 0")
    return value


def _route(env: Mapping[str, str], name: str, default: str) -> str:
    route = env.get(name) or default
    if not route.startswith("/"):
        raise SettingsError(f"{name} is {route!r}; it must begin with '/'")
    return route


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = env.get(name) or choices[0]
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
    return value
