"""The serving program: one model, one process, every HTTP contract that clouds speak.

A request goes `http` (bytes to requests) -> `contracts` (requests to rows) -> `engine` (rows to batches)
-> `formats` (batches to predictions) and back. It shares an HTTP contract with the control plane, and no code.
"""
