"""Judges uploads: fed by the drop's events and by timers."""

from chalicelib import triggers
from chalicelib.pipeline.validate import look
from chalicelib.pipeline.wakeups import LOOK

handler = triggers.QueueFed("validate", {LOOK: look}, queue=lambda told: told.uploads_queue_url).handler()
