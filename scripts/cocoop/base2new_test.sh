#!/usr/bin/env bash
# Evaluate that training on the data set's new classes: base2new_test.sh [DATASET] [SEED] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method CoCoOp vit_b16_c4_ep10_batch1_ctxv1
base2new_test "$@"
