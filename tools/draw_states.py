"""Write docs/states.md anew from the table in the code: `python tools/draw_states.py`. A test holds the two equal."""

from collections.abc import Iterator
from pathlib import Path

from chalicelib.domain.rollout import ENDS, Phase
from chalicelib.domain.states import BEGINS, TABLE

PAGE = Path(__file__).parents[1] / "docs" / "states.md"
_HEAD = """# The states of a rollout

Drawn from the table in the code by `tools/draw_states.py`. What isn't listed can't be written: a move that isn't in the
table is refused as a bug before anything changes. [How a rollout goes](rollout.md#states-and-what-happens-next) says
when each action is taken.

"""
_WORDS = {
    "Start": "start the canary, or give it room",
    "Restart": "start a failed canary anew",
    "FallBack": "try another instance type",
    "Stop": "stop what makes room",
    "StartStable": "start stable again",
    "Examine": "ask it its golden.jsonl",
    "Shadow": "copy live requests to it",
    "Hold": "hold",
    "Synthesize": "ask both sides synthetic requests",
    "Extend": "extend",
    "Await": "wait at a gate",
    "Approve": "open the gate: who was asked agreed",
    "Shift": "next step",
    "Recreate": "stable makes room",
    "Bake": "all traffic",
    "Promote": "promote",
    "Return": "the canary makes room",
    "RollBack": "go back",
    "Fail": "fail",
}


def text() -> str:
    return _HEAD + "\n".join([*_diagram(), "", *_table()]) + "\n"


def _diagram() -> Iterator[str]:
    """Yield the moves that change the phase, as Mermaid draws them."""
    yield "```mermaid\nstateDiagram-v2"
    yield from (f"    [*] --> {phase}" for phase in Phase if phase in BEGINS)
    for before in Phase:
        for after in Phase:
            if before is not after and (why := _why(before, after)):
                yield f"    {before} --> {after}: {', '.join(why)}"
    yield from (f"    {phase} --> [*]" for phase in Phase if phase in ENDS)
    yield "```"


def _table() -> Iterator[str]:
    yield "| in | what | leads to |\n|---|---|---|"
    for before in Phase:
        for what, row in TABLE.items():
            if after := row.get(before):
                names = ", ".join(f"`{phase}`" for phase in Phase if phase in after)
                yield f"| `{before}` | {_WORDS.get(what, what)} | {names} |"


def _why(before: Phase, after: Phase) -> list[str]:
    return [_WORDS.get(what, what) for what, row in TABLE.items() if after in row.get(before, ())]


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
