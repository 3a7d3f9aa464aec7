"""The environment, read once into one frozen object."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

MIB = 1024 * 1024
DEVICES = ("auto", "cpu", "cuda")
T = TypeVar("T", int, float)


class SettingsError(ValueError):
    """A variable that cannot be read; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    model_dir: Path = Path("/opt/ml/model")
    model_name: str = "model"
    uds: Path | None = None
    host: str = "0.0.0.0"
    port: int = 8080
    health_route: str = "/health"
    predict_route: str = "/predict"
    device: str = "auto"
    threads: int = 1
    max_body: int = 64 * MIB
    max_header: int = 64 * 1024
    max_batch: int = 32
    max_queue: int = 1024
    request_timeout_s: float = 60.0
    read_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0
    drain_timeout_s: float = 30.0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read every variable; raise SettingsError that names the one that is wrong."""
        uds = env.get("MODELDROP_UDS")
        return cls(
            model_dir=Path(env.get("MODEL_DIR", "/opt/ml/model")).absolute(),
            model_name=env.get("MODELDROP_MODEL_NAME", "model"),
            uds=Path(uds).absolute() if uds else None,
            port=_number(env, "AIP_HTTP_PORT", 8080, int),
            health_route=_route(env, "AIP_HEALTH_ROUTE", "/health"),
            predict_route=_route(env, "AIP_PREDICT_ROUTE", "/predict"),
            device=_choice(env, "MODELDROP_DEVICE", DEVICES),
            threads=_number(env, "MODELDROP_THREADS", _cpus(), int),
            max_body=_number(env, "MODELDROP_MAX_BODY_BYTES", 64 * MIB, int),
            max_header=_number(env, "MODELDROP_MAX_HEADER_BYTES", 64 * 1024, int),
            max_batch=_number(env, "MODELDROP_MAX_BATCH", 32, int),
            max_queue=_number(env, "MODELDROP_MAX_QUEUE", 1024, int),
            request_timeout_s=_number(env, "MODELDROP_REQUEST_TIMEOUT_S", 60.0, float),
            read_timeout_s=_number(env, "MODELDROP_READ_TIMEOUT_S", 30.0, float),
            idle_timeout_s=_number(env, "MODELDROP_IDLE_TIMEOUT_S", 600.0, float),
            drain_timeout_s=_number(env, "MODELDROP_DRAIN_TIMEOUT_S", 30.0, float),
        )


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
