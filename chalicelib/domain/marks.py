"""Marks: what is counted of a deployment's answers by name, beside requests and latencies.

A name is a kind and a value, parted by a space, such as `structure {predictions: n * number}`. Values come from models,
so how many different ones are kept is bounded: what comes after is counted as the kind's `other`.
"""

from collections.abc import Collection

MOST = 600  # names that are told apart
LONGEST = 200  # characters
_OTHER = "other"


def kept_name(name: str, known: Collection[str]) -> str:
    """Return the name to count under, given those that were counted before."""
    if name in known or (len(known) < MOST and len(name) <= LONGEST):
        return name
    return f"{name.partition(' ')[0]} {_OTHER}"
