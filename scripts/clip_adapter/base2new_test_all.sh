#!/usr/bin/env bash
# Evaluate that training on base and new classes together: base2new_test_all.sh [DATASET] [SEED] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" clip_adapter base2new_test_all "$@"
