"""Where reading a YAML document stops, and how it is said what is wrong with one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class YamlLimits:
    characters: int = 65_536
    depth: int = 32
    values: int = 10_000  # with every alias counted as what it stands for


DEFAULTS = YamlLimits()


class BadYaml(ValueError):
    """A text that isn't one plain document; `line` counts from 1 and is 0 where no line is to blame."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {problem}" if line else problem)
        self.problem, self.line = problem, line
