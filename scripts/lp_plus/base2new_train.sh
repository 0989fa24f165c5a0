#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]; alone, the demonstration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" lp_plus base2new_train "$@"
