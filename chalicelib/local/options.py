"""What `modeldrop up` was asked to do, as one value."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.limits import Limits
from chalicelib.domain.policy import NO_POLICY, Policy
from chalicelib.local.home import Home


@dataclass(frozen=True)
class UpOptions:
    """`None` and "" leave a setting at the platform's own default."""

    home: Home = field(default_factory=Home.default)
    store: str = "minio"  # minio | embedded
    s3_endpoint: str = ""  # any other S3's URL; wins over `store`
    s3_url: str = ""  # by which uploaders elsewhere reach the store
    host: str = "127.0.0.1"
    port: int = 8443
    s3_port: int = 9000
    cert: Path | None = None  # PEM; with `key_file`, instead of our own CA
    key_file: Path | None = None
    # Of every rollout whose drop doesn't say otherwise:
    steps: tuple[int, ...] | None = None
    step_time: timedelta | None = None
    min_requests: int | None = None
    keep_warm: timedelta | None = None
    quiet_period: timedelta | None = None
    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    policy: Policy = NO_POLICY
    fleet: str = "processes"  # processes | container: what runs versions of our own formats
    tensorflow_image: str = "modeldrop-serving:tensorflow-cpu"
    pytorch_image: str = "modeldrop-serving:pytorch-cpu"
