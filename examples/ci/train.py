"""Fit rents to flats by least squares, and write what is to be served: `python train.py export`."""

import csv
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(out: Path) -> None:
    with (HERE / "flats.csv").open() as file:
        flats = [(float(row["square_metres"]), float(row["rent"])) for row in csv.DictReader(file)]
    slope, base = fit(flats)
    off = sum(abs(base + slope * size - rent) for size, rent in flats) / len(flats)
    out.mkdir(exist_ok=True)
    (out / "weights.json").write_text(json.dumps({"slope": slope, "base": base}))
    shutil.copy(HERE / "predictor.py", out)
    print(f"{len(flats)} flats: rent = {base:.0f} + {slope:.2f} per square metre, {off:.0f} off on average")


def fit(points: list[tuple[float, float]]) -> tuple[float, float]:
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return slope, mean_y - slope * mean_x


if __name__ == "__main__":
    main(Path(sys.argv[1]))
