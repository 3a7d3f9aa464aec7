"""The values of a YAML document, built from its events: the part of `strict_yaml` that knows PyYAML.

PyYAML's pure parser gives the events; nothing here constructs an object that a document names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from chalicelib.domain.yaml_limits import BadYaml, YamlLimits

_STANDARD = "tag:yaml.org,2002:"
_SCALARS = frozenset(_STANDARD + kind for kind in ("str", "int", "float", "bool", "null", "timestamp"))
_MERGE = _STANDARD + "merge"
_SHOWN = 100  # characters of what a document says


@dataclass(frozen=True)
class _Built:
    """A value, how many values it stands for, and how deep it goes."""

    value: Any
    weight: int = 1
    height: int = 1


def value_of(text: str, limits: YamlLimits) -> Any:
    """Return the value of a text's only document; raises BadYaml."""
    try:
        return _document(text, limits)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise BadYaml((e.problem or e.context or "it is no YAML")[:_SHOWN], mark.line + 1 if mark else 0) from e
    except yaml.YAMLError as e:
        raise BadYaml(" ".join(str(e).split())[:_SHOWN]) from e


def _document(text: str, limits: YamlLimits) -> Any:
    loader: Any = yaml.SafeLoader(text)  # its methods have no types
    builder = _Builder(loader, limits)
    value = None
    documents = 0
    for event in iter(loader.get_event, None):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadYaml("a second document begins; one is allowed", _line(event))
            value = builder.build(loader.get_event(), 1).value
    return value


class _Builder:
    """Builds values from events, counting; knows the anchors that are whole and the ones still open."""

    def __init__(self, loader: Any, limits: YamlLimits) -> None:
        self._loader = loader
        self._limits = limits
        self._anchors: dict[str, _Built | None] = {}
        self._values = 0

    def build(self, event: yaml.Event, depth: int) -> _Built:
        if isinstance(event, yaml.AliasEvent):
            built = self._alias(event)
            self._count(built.weight, event)
            self._go(depth + built.height - 1, event)
            return built
        self._count(1, event)
        self._go(depth, event)
        anchor = getattr(event, "anchor", None)
        if anchor in self._anchors:
            raise BadYaml(f"the anchor {anchor[:_SHOWN]!r} is there twice", _line(event))
        if anchor is not None:
            self._anchors[anchor] = None
        built = self._plain(event, depth)
        if anchor is not None:
            self._anchors[anchor] = built
        return built

    def _plain(self, event: yaml.Event, depth: int) -> _Built:
        if isinstance(event, yaml.ScalarEvent):
            return _Built(self._scalar(event))
        kind = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STANDARD + kind):
            raise _foreign(tag, event)
        return self._sequence(depth) if kind == "seq" else self._mapping(depth)

    def _sequence(self, depth: int) -> _Built:
        items = list(self._items(depth))
        return _gathered([b.value for b in items], items)

    def _items(self, depth: int) -> Iterator[_Built]:
        while not isinstance(event := self._loader.get_event(), yaml.SequenceEndEvent):
            yield self.build(event, depth + 1)

    def _mapping(self, depth: int) -> _Built:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        parts = []
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            merges = self._merges(event)
            key = _Built("<<") if merges else self.build(event, depth + 1)
            value = self.build(self._loader.get_event(), depth + 1)
            parts += [key, value]
            if merges:
                merged = {**_merged(value.value, event), **merged}
            else:
                own[self._new_key(key.value, own, event)] = value.value
        return _gathered({**merged, **own}, parts)

    def _merges(self, event: yaml.Event) -> bool:
        return isinstance(event, yaml.ScalarEvent) and self._tag(event) == _MERGE

    def _new_key(self, key: Any, own: dict[Any, Any], event: yaml.Event) -> Any:
        if isinstance(key, list | dict):
            raise BadYaml("a key is a list or a mapping", _line(event))
        if key in own:
            raise BadYaml(f"the key {str(key)[:_SHOWN]!r} is there twice", _line(event))
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = self._tag(event)
        if tag not in _SCALARS:
            raise _foreign(tag, event)
        try:
            return self._loader.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, IndexError, AttributeError, OverflowError) as e:
            kind = tag.removeprefix(_STANDARD)  # PyYAML raises plainly for a date or number that is none
            raise BadYaml(f"{event.value[:_SHOWN]!r} is no {kind}; put it in quotes", _line(event)) from e

    def _tag(self, event: yaml.ScalarEvent) -> str:
        if event.tag is None or event.tag == "!":
            return str(self._loader.resolve(yaml.ScalarNode, event.value, event.implicit))
        return str(event.tag)

    def _alias(self, event: yaml.AliasEvent) -> _Built:
        name = str(event.anchor)
        if name not in self._anchors:
            raise BadYaml(f"it refers to {name[:_SHOWN]!r}, which isn't defined before", _line(event))
        built = self._anchors[name]
        if built is None:
            raise BadYaml(f"{name[:_SHOWN]!r} holds itself", _line(event))
        return built

    def _count(self, values: int, event: yaml.Event) -> None:
        self._values += values
        if self._values > self._limits.values:
            raise BadYaml(f"it stands for more than {self._limits.values} values", _line(event))

    def _go(self, depth: int, event: yaml.Event) -> None:
        if depth > self._limits.depth:
            raise BadYaml(f"it is nested deeper than {self._limits.depth}", _line(event))


def _gathered(value: Any, parts: list[_Built]) -> _Built:
    return _Built(value, 1 + sum(p.weight for p in parts), 1 + max((p.height for p in parts), default=0))


def _merged(value: Any, event: yaml.Event) -> dict[Any, Any]:
    """Return what `<<` brings: of several mappings the first says."""
    merged: dict[Any, Any] = {}
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise BadYaml("'<<' merges a mapping or a list of mappings", _line(event))
        merged = {**mapping, **merged}
    return merged


def _foreign(tag: str | None, event: yaml.Event) -> BadYaml:
    return BadYaml(f"the tag {str(tag)[:_SHOWN]!r} is not a plain one", _line(event))


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 0
