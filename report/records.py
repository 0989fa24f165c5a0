"""Find the records that runs left behind."""

import json
import sys
from pathlib import Path
from typing import Any

NEEDED = ("complete", "trainer", "dataset", "subsample_classes", "seed", "accuracy")


def read_records(output: Path) -> list[dict[str, Any]]:
    """All complete records below `output`, in path order, each with its directory under "path".

    Damaged and unfinished ones are named on stderr and left out. Raises FileNotFoundError if there is no record at all.
    """
    if not output.is_dir():
        raise FileNotFoundError(f"There is no directory {output}; give the output directory of the runs.")
    records = []
    files = sorted(output.rglob("metrics.json"))
    for file in files:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            record = None
        if not isinstance(record, dict):
            print(f"{file} is damaged, left out", file=sys.stderr)
        elif not record.get("complete"):
            print(f"{file.parent} is unfinished, left out", file=sys.stderr)
        elif any(key not in record for key in NEEDED):
            absent = ", ".join(key for key in NEEDED if key not in record)
            print(f"{file} lacks {absent}, left out", file=sys.stderr)
        elif record["accuracy"] is not None:  # None: the run was asked not to test
            records.append(record | {"path": file.parent})
    if not files:
        raise FileNotFoundError(f"There is no metrics.json below {output}: no run has left a record there yet.")
    return records
