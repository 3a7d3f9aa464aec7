"""Where a platform on one machine keeps its things."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """The platform's folder; all of it is readable by its owner alone."""

    root: Path

    @classmethod
    def default(cls) -> "Home":
        """Return MODELDROP_HOME, else the user's data folder."""
        return cls(Path(os.environ.get("MODELDROP_HOME") or platformdirs.user_data_dir("modeldrop")))

    def make(self) -> "Home":
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        return self

    @property
    def registry(self) -> Path:
        return self.root / "registry.sqlite"

    @property
    def credentials(self) -> Path:
        """The store's generated credentials, readable by the owner only."""
        return self.root / "credentials.json"

    @property
    def aws_profile(self) -> Path:
        """An AWS shared-credentials file with the drop's own access key."""
        return self.root / "aws-credentials"

    @property
    def connection(self) -> Path:
        """How the command line reaches the running platform: URL, CA and an admin key."""
        return self.root / "connection.json"

    @property
    def ca(self) -> Path:
        return self.root / "tls"

    @property
    def minio(self) -> Path:
        return self.root / "minio"

    @property
    def models(self) -> Path:
        """What was fetched from the model store, one folder for each deployment."""
        return self.root / "models"

    @property
    def events(self) -> Path:
        """Every transition as a JSON line, in the order in which they were told."""
        return self.root / "events.jsonl"

    @property
    def audit(self) -> Path:
        """The calls of hooks as JSON lines."""
        return self.root / "audit.jsonl"

    @property
    def logs(self) -> Path:
        return self.root / "logs"
