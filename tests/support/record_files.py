"""What docs/records.md says, and what a run's files hold."""

import csv
import re
from pathlib import Path

DOCUMENT = (Path(__file__).parents[2] / "docs/records.md").read_text()


def documented(heading: str, level: int = 2) -> list[str]:
    """The names in the first columns of the tables below a heading of docs/records.md."""
    part = DOCUMENT.split(f"\n{'#' * level} {heading}\n")[1]
    part = re.split(rf"\n#{{2,{level}}} ", part)[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def rows_of(directory: Path) -> list[dict[str, str]]:
    """The rows of predictions.csv."""
    with (directory / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))
