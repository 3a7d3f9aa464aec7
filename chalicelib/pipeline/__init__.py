"""One module per verb; each gathers, decides with `domain`, acts through `ports` and records what it did."""
