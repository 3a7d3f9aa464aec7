"""Where moto copies more than what we ask of it needs: `slim` spares minutes, and changes no answer.

A listing of versions copies the bytes of every object, a transaction the whole table in case it fails, and a query
sorts all items by values that it casts for each comparison. We only read what a listing gives, our transactions put
and delete whole items, and our keys are text.
"""

from typing import Any

from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.s3.models import FakeKey


def slim() -> None:
    FakeKey.__deepcopy__ = lambda key, _: key_of_same_bytes(key)
    Table.__deepcopy__ = lambda table, _: table_of_same_items(table)
    Table.all_items = in_order


def copied(thing: Any) -> Any:
    """Return another of the same attributes, which `copy.copy` would take through `__getstate__` and all the bytes."""
    other = object.__new__(type(thing))
    vars(other).update(vars(thing))
    return other


def key_of_same_bytes(key: FakeKey) -> FakeKey:
    """Return a key that leaves the bytes alone when it is thrown away: they are the first one's."""
    other: FakeKey = copied(key)
    other._value_buffer, other.multipart = Borrowed(key._value_buffer), None
    other.disposed = True
    return other


class Borrowed:
    """Another's buffer, which isn't ours to close."""

    def __init__(self, buffer: Any) -> None:
        self.seek, self.read = buffer.seek, buffer.read

    def close(self) -> None:
        pass


def table_of_same_items(table: Table) -> Table:
    other: Table = copied(table)
    other.items = table.items.copy()
    other.items.update({key: dict(held) for key, held in table.items.items() if isinstance(held, dict)})
    return other


def in_order(table: Table) -> list[Item]:
    items = [item for held in table.items.values() for item in (held.values() if isinstance(held, dict) else [held])]
    return sorted(items, key=lambda item: (item.hash_key.value, item.range_key.value if item.range_key else ""))
