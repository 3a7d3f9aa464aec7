"""Write docs/event-schema.json anew from the code: `python tools/draw_events.py`. A test holds it against the code."""

import json
from pathlib import Path

from chalicelib.domain.event_schema import event_schema

PAGE = Path(__file__).parents[1] / "docs" / "event-schema.json"


def text() -> str:
    return json.dumps(event_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
