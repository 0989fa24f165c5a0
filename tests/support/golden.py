"""What the tests on golden numbers share."""

import numpy as np

COSINE = {"LR_SCHEDULER": "cosine", "WARMUP_EPOCH": 0, "PER_STEP": True}
LORA = {"NAME": "adamw", "LR": 2e-4, "WEIGHT_DECAY": 0.01, "LR_MIN": 1e-6} | COSINE


def close(ours, reference, relative=1e-4):
    """Largest difference against the largest entry."""
    ours, reference = np.asarray(ours, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    return np.abs(ours - reference).max() <= relative * max(np.abs(reference).max(), 1e-12)
