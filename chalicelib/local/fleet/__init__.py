"""Runs deployments as supervised serving processes on this machine, each walled off from us and from the others."""
