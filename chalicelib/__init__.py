"""Modeldrop: an upload becomes a validated, registered and safely rolled-out model endpoint.

Read it from the inside out. `domain` decides: pure functions over frozen values. `pipeline` has one module
per verb, each gather -> decide -> act -> record over the Protocols of `pipeline.ports`. `adapters` (cloud)
and `local` (one machine) fulfil those Protocols. `events` turns what others say into typed commands, and
`api` is the one set of HTTP routes, the same on AWS and on one machine.
"""
