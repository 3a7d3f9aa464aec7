"""The environment of a function on AWS, read once into one frozen object; what is missing fails the cold start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

PREFIX = "MODELDROP_"
_RECORDS = ("STACK", "TABLE", "STORE_BUCKET", "BUS")
_TIMERS = ("SCHEDULE_GROUP", "SCHEDULE_ROLE_ARN", "ROLLOUTS_QUEUE_URL", "ROLLOUTS_QUEUE_ARN")
_UPLOADS = (
    "DROP_BUCKET", "UPLOADS_QUEUE_URL", "UPLOADS_QUEUE_ARN", "REGISTRATIONS_QUEUE_URL", "REGISTRATIONS_QUEUE_ARN",
    "QUIET_SECONDS", "BOUNDS", "INSTANCE_TYPE", "ALLOWED_INSTANCE_TYPES", "MAX_INSTANCES_PER_MODEL",
)  # fmt: skip
_FLEET = (
    "MODEL_ROLE_ARN", "SERVING_IMAGE", "ALLOWED_IMAGES", "INSTANCE_TYPE", "ALLOWED_INSTANCE_TYPES",
    "MAX_INSTANCES_PER_MODEL", "MODEL_SUBNETS", "MODEL_SECURITY_GROUPS", "MODEL_KMS_KEY", "DATA_CAPTURE",
    "INFERENCE_AMI",
)  # fmt: skip
# What each function reads; the template gives it these and no others.
FUNCTIONS: Mapping[str, Sequence[str]] = {
    "validate": (*_RECORDS, *_TIMERS, *_UPLOADS),
    "register": (*_RECORDS, *_TIMERS, *_UPLOADS, "SERVING_IMAGE"),
    "advance": (*_RECORDS, *_TIMERS, "REGISTRATIONS_QUEUE_URL", "REGISTRATIONS_QUEUE_ARN", "BOUNDS", *_FLEET),
    "re_sync": tuple(dict.fromkeys((*_RECORDS, *_TIMERS, *_UPLOADS, *_FLEET))),
    "api": (
        *_RECORDS, *_TIMERS, "BOUNDS", "INSTANCE_TYPE", "ALLOWED_INSTANCE_TYPES", "MAX_INSTANCES_PER_MODEL",
        "RATE_PER_ENDPOINT", "SHADOWS_QUEUE_URL", "DROP_BUCKET",
    ),
    "shadow": ("STACK", "TABLE", "STORE_BUCKET"),
    "authorizer": ("TABLE", "STORE_BUCKET"),
    "teardown": ("STACK",),
}  # fmt: skip


class MissingSettings(LookupError):
    """The environment lacks names that a function reads."""


@dataclass(frozen=True)
class Settings:
    """What the template says; "" and 0 where a function isn't told."""

    stack: str = ""  # 8 hex digits of the stack's own id: every name of ours begins with `md-` and these
    region: str = ""
    drop_bucket: str = ""
    store_bucket: str = ""
    table: str = ""
    bus: str = ""
    uploads_queue_url: str = ""
    uploads_queue_arn: str = ""
    registrations_queue_url: str = ""
    registrations_queue_arn: str = ""
    rollouts_queue_url: str = ""
    rollouts_queue_arn: str = ""
    shadows_queue_url: str = ""
    schedule_group: str = ""
    schedule_role_arn: str = ""
    model_role_arn: str = ""
    serving_image: str = ""
    allowed_images: tuple[str, ...] = ()
    instance_type: str = ""
    allowed_instance_types: tuple[str, ...] = ()
    max_instances_per_model: int = 0
    model_subnets: tuple[str, ...] = ()
    model_security_groups: tuple[str, ...] = ()
    model_kms_key: str = ""
    data_capture: int = 0  # percent of requests
    inference_ami: str = ""  # of GPU instances: which drivers they have
    quiet: timedelta = timedelta(0)
    rate_per_endpoint: float = 0.0  # predictions a second
    bounds: str = "{}"  # JSON: `operator_settings`

    @classmethod
    def read(cls, function: str, environ: Mapping[str, str]) -> "Settings":
        """Read what a function is told; raises MissingSettings with every name that isn't there."""
        names = FUNCTIONS[function]
        if missing := [PREFIX + name for name in names if PREFIX + name not in environ]:
            raise MissingSettings(f"function {function}: the environment lacks {', '.join(missing)}")
        told = {name.lower(): environ[PREFIX + name] for name in names}
        return cls(region=environ.get("AWS_REGION", ""), **{_FIELDS.get(n, n): _value(n, v) for n, v in told.items()})


_FIELDS = {"quiet_seconds": "quiet"}
_LISTS = {"allowed_images", "allowed_instance_types", "model_subnets", "model_security_groups"}


def _value(name: str, text: str) -> Any:
    match name:
        case "quiet_seconds":
            return timedelta(seconds=float(text))
        case "rate_per_endpoint":
            return float(text)
        case "max_instances_per_model" | "data_capture":
            return int(text)
        case _ if name in _LISTS:
            return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
