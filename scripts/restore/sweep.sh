#!/usr/bin/env bash
# Train and test over seeds and epochs, then a summary: SEEDS="1 2 3" EPOCHS="5 10" sweep.sh [DATASET] [KEY VALUE ...]
# JOBS=2 does two runs at once. Whole tables: python sweep.py, docs/sweeps.md.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" restore sweep "$@"
