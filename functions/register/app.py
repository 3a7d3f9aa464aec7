"""Makes accepted uploads versions, and shows versions in the cloud's own catalogue."""

from chalicelib import triggers
from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.catalogue import catalogue
from chalicelib.pipeline.register import register
from chalicelib.pipeline.wakeups import CATALOGUE, REGISTER

verbs = {REGISTER: register, CATALOGUE: lambda name, ports: catalogue(VersionRef.parse(name), ports)}
handler = triggers.QueueFed("register", verbs, queue=lambda told: told.registrations_queue_url).handler()
