"""One safe YAML document as plain values: what every YAML reader reads alike, and nothing that costs more than it says.

What walks the document is `yaml_values`, loaded at the first one: PyYAML takes a twentieth of a cold start on AWS, and
most uploads have no YAML.
"""

from typing import Any

from chalicelib.domain.yaml_limits import DEFAULTS, BadYaml, YamlLimits


def parse(text: str | bytes, limits: YamlLimits = DEFAULTS) -> Any:
    """Return the value of a text's only document, None for an empty one; raises BadYaml.

    Mappings, sequences and scalars only: no second document, repeated key, tag of its own or reference to itself.
    """
    from chalicelib.domain.yaml_values import value_of  # noqa: PLC0415  # see above

    if len(text) > limits.characters:
        raise BadYaml(f"it has {len(text)} characters, more than {limits.characters}")
    try:
        return value_of(text if isinstance(text, str) else text.decode(), limits)
    except UnicodeDecodeError as e:
        raise BadYaml(f"it is not UTF-8 text: byte {e.start}") from e
