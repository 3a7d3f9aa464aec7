"""Tells events to webhooks: the API that an operator steers them by, and the thread that sends."""
