"""Published accuracies (ViT-B/16, 16 shots) to set beside one's own, from published_results.csv.

Each number has the sources that agree on it and the values of those that do not. RESTORE's own tables are not in it.
"""

import csv
from functools import cache
from pathlib import Path

from report.rows import Row, trained_epochs

SETTINGS = {1: "base2new_vitb16_16shot", 2: "cross_dataset_vitb16_16shot", 3: "domain_generalization_vitb16_16shot"}
NAMES = {"ZeroshotCLIP": "CLIP", "VPT": "DeepVisionPrompting", "LPT": "DeepLanguagePrompting"}
METRICS = {"base": "base", "new": "novel", "H": "hm"}


@cache
def numbers() -> dict[tuple[str, str, str, str], float]:
    """(setting, method, data set, metric) to percent."""
    with (Path(__file__).parent / "published_results.csv").open(encoding="utf-8", newline="") as file:
        return {
            (line["setting"], line["method"], line["dataset"], line["metric"]): float(line["value"])
            for line in csv.DictReader(file)
        }


def eleven() -> set[str]:
    """The data sets of Table 1, by the paper's names."""
    return {dataset for setting, _, dataset, _ in numbers() if setting == SETTINGS[1]} - {"Average11"}


def published_name(row: Row) -> str:
    """What the list calls the row's method; IVLP stands there with 5 and with 20 epochs."""
    if row.trainer == "IVLP":
        return f"IVLP_ep{trained_epochs(row.records[0])}"
    return NAMES.get(row.trainer, row.trainer)


def comparable(row: Row) -> bool:
    """Whether the published numbers are of the row's backbone and shots."""
    return "vit-b/16" in row.backbone.casefold().replace("_", "/") and row.shots in (None, 16)


def look_up(table: int, row: Row, dataset: str, metric: str = "accuracy") -> float | None:
    """The published accuracy in percent; None if there is none or it is of another setting.

    Args:
        dataset: the paper's name, "ImageNet(source)" for the source of a transfer.
        metric: base, new or H for Table 1.
    """
    if table not in SETTINGS or not comparable(row):
        return None
    return numbers().get((SETTINGS[table], published_name(row), dataset, METRICS.get(metric, metric)))
