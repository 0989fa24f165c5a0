#!/usr/bin/env bash
# Evaluate that training on the data set's new classes: base2new_test.sh [DATASET] [SEED] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" coprompt base2new_test "$@"
