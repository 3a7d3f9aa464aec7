"""What an archive's model-config.yaml means here: TorchServe's keys, read once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelserver.errors import LoadError

FILE = "model-config.yaml"
# There is no worker process to count: one replica calls its handler on one thread.
WITHOUT_EFFECT = ("minWorkers", "maxWorkers", "startupTimeout", "jobQueueSize", "useJobTicket")
NOT_SERVED = {
    "continuousBatching": "answers in parts aren't sent",
    "sequenceBatching": "requests aren't tied to a sequence",
    "asyncCommunication": "a handler answers when it returns",
    "parallelType": "a replica is one process, and torchrun starts several",
}
BARE_ROWS = ("body", "json", "kserve")
TAKES_INSTANCES = ("json", "kserve")


@dataclass(frozen=True, slots=True)
class HandlerConfig:
    batch_size: int | None = None
    max_delay_s: float | None = None
    response_timeout_s: int | None = None
    device_type: str = ""
    device_ids: tuple[int, ...] = ()
    envelope: str = ""
    without_effect: tuple[str, ...] = ()

    @property
    def has_bare_rows(self) -> bool:
        """Whether a row is what a client sent, without `{"data": …}` or `{"body": …}` around it."""
        return self.envelope in BARE_ROWS

    @property
    def takes_instances(self) -> bool:
        """Whether a native request, too, is `{"instances": […]}`."""
        return self.envelope in TAKES_INSTANCES


def handler_config(config: Mapping[str, Any]) -> HandlerConfig:
    """Read what is meant for the server; raise LoadError that names the key which is wrong or isn't served."""
    for key, why in NOT_SERVED.items():
        if config.get(key):
            raise LoadError(f"{FILE}: {key} is not served here: {why}; remove it if the handler works without")
    return HandlerConfig(
        batch_size=_positive(config, "batchSize"),
        max_delay_s=_seconds(config, "maxBatchDelay"),
        response_timeout_s=_positive(config, "responseTimeout"),
        device_type=_choice(config, "deviceType", ("cpu", "gpu")),
        device_ids=_device_ids(config),
        envelope=_choice(config, "envelope", BARE_ROWS),
        without_effect=tuple(key for key in WITHOUT_EFFECT if key in config),
    )


def _positive(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    if value is not None and not (_is_whole(value) and value > 0):
        raise LoadError(f"{FILE}: {key} is {value!r}; it must be a whole number above 0")
    return value


def _seconds(config: Mapping[str, Any], key: str) -> float | None:
    """Milliseconds, 0 allowed: a call is never put off."""
    value = config.get(key)
    if value is not None and not (_is_whole(value) and value >= 0):
        raise LoadError(f"{FILE}: {key} is {value!r}; it must be a whole number of milliseconds")
    return None if value is None else value / 1000


def _choice(config: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = str(config.get(key) or "").lower()
    if value and value not in choices:
        raise LoadError(f"{FILE}: {key} is {config[key]!r}; it must be one of {', '.join(choices)}")
    return value


def _device_ids(config: Mapping[str, Any]) -> tuple[int, ...]:
    ids = config.get("deviceIds") or []
    if not isinstance(ids, list) or not all(_is_whole(i) and i >= 0 for i in ids):
        raise LoadError(f"{FILE}: deviceIds is {ids!r}; it must be a list of whole numbers")
    return tuple(ids)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def cuda_device(config: HandlerConfig, *, wanted: str, count: Callable[[], int]) -> str:
    """Say where to compute: the operator's word first, then the archive's; `count` is asked only where it matters."""
    if wanted == "cpu" or (wanted == "auto" and config.device_type == "cpu"):
        return "cpu"
    gpus = count()
    if wanted == "cuda" and not gpus:
        raise LoadError("MODELDROP_DEVICE is cuda, but Torch sees no GPU")
    return f"cuda:{next((i for i in config.device_ids if i < gpus), 0)}" if gpus else "cpu"
