"""Makes accepted uploads versions, and shows versions in the cloud's own catalogue."""

from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.catalogue import catalogue
from chalicelib.pipeline.register import register
from chalicelib.pipeline.wakeups import CATALOGUE, REGISTER
from chalicelib.triggers import QueueFed

verbs = {REGISTER: register, CATALOGUE: lambda name, ports: catalogue(VersionRef.parse(name), ports)}
handler = QueueFed("register", verbs, queue=lambda told: told.registrations_queue_url).handler()
