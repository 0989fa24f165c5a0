"""Published accuracies (ViT-B/16, 16 shots) to set beside one's own, from published_results.csv.

Each number has the sources that agree on it and the values of those that do not. RESTORE's own tables are not in it.
"""

import csv
from functools import cache
from pathlib import Path

from report.methods import MethodRuns

SETTINGS = {1: "base2new_vitb16_16shot", 2: "cross_dataset_vitb16_16shot", 3: "domain_generalization_vitb16_16shot"}
NAMES = {"ZeroshotCLIP": "CLIP", "VPT": "DeepVisionPrompting", "LPT": "DeepLanguagePrompting"}
METRICS = {"base": "base", "new": "novel", "H": "hm"}


@cache
def numbers() -> dict[tuple[str, str, str, str], float]:
    """(setting, method, data set, metric) to percent."""
    with (Path(__file__).parent / "published_results.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["setting"], row["method"], row["dataset"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
        }


def eleven() -> set[str]:
    """The data sets of Table 1, by the paper's names."""
    return {dataset for setting, _, dataset, _ in numbers() if setting == SETTINGS[1]} - {"Average11"}


def look_up(table: int, method: MethodRuns, dataset: str, metric: str = "accuracy") -> float | None:
    """The published accuracy in percent; None if there is none or it is of another backbone or number of shots.

    Args:
        dataset: the paper's name, "ImageNet(source)" for the source of a transfer.
        metric: base, new or H for Table 1.
    """
    comparable = "vit-b/16" in method.backbone.casefold().replace("_", "/") and method.shots in (None, 16)
    if table not in SETTINGS or not comparable:
        return None
    name = NAMES.get(method.trainer, method.trainer)
    if name == "IVLP":  # stands in the list with 5 and with 20 epochs
        name += f"_ep{method.epochs}"
    return numbers().get((SETTINGS[table], name, dataset, METRICS.get(metric, metric)))
