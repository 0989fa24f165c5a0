# shellcheck shell=bash
# What the scripts of all methods share. A method's script sources this file, names its trainer and its usual
# configuration with `method`, and calls one of the protocols at the end of this file.
#
# From the environment, everywhere:
#   DATA      directory that holds the data sets; not needed for the embedded emojinet and emojinet_mono
#   TRAINER   registered name of the method      CFG     file stem in configs/trainers/$TRAINER/
#   SHOTS     training images a class (16)       EPOCHS  in place of the yaml's; the runs go to $CFG-ep$EPOCHS
#   LOADEP    epoch to evaluate (the last)       OUTPUT  root of all results (output)
#   PYTHON    interpreter (python)               CHECKPOINT_FREQ  keep every so many epochs (see train_run)
# Arguments after DATASET and SEED go to train.py: KEY VALUE pairs that override the yaml files.
set -euo pipefail

: "${SHOTS:=16}" "${OUTPUT:=output}" "${DATA:=}"
: "${PYTHON:=$(command -v python || echo python3)}"
# relative paths are the caller's; from here on the repository is the working directory
[[ $PYTHON != */* || $PYTHON == /* ]] || PYTHON=$PWD/$PYTHON
[[ -z $DATA || $DATA == /* ]] || DATA=$PWD/$DATA
[[ $OUTPUT == /* || $OUTPUT == output ]] || OUTPUT=$PWD/$OUTPUT
[[ $PYTHON != */* || $PYTHON == /* ]] || PYTHON=$PWD/$PYTHON
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "error: $*" >&2
    exit 2
}

command -v "$PYTHON" >/dev/null || fail "there is no interpreter $PYTHON; set PYTHON, as in PYTHON=python3"
"$PYTHON" - <<'EOF' || exit 2
import sys
from promptclip.common.names import require
try:
    require("torch", "torchvision", "clip", "dassl", "yacs", "tabulate")
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}")
EOF

# method TRAINER CFG [TRAINER CFG ...]: the trainers a folder of scripts is for, the first one unless TRAINER says
# otherwise, and their configurations on the field's data sets.
method() {
    : "${TRAINER:=$1}"
    usual_cfg=
    while (($# > 0)); do
        [[ $TRAINER != "$1" ]] || usual_cfg=$2
        shift 2
    done
}

# use DATASET SEED [KEY VALUE ...]: sets dataset, seed, extra, their yaml files, and name (the configuration's in paths).
use() {
    dataset=$1 seed=$2 extra=("${@:3}")
    dataset_yaml=configs/datasets/$dataset.yaml
    local cfg=${CFG:-$usual_cfg}
    [[ -n ${CFG:-} || $dataset != emojinet* ]] || cfg=emojiclip # the embedded backbone belongs to these
    [[ $dataset != emojinet* ]] || export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # so small that a second thread only waits
    [[ -n $cfg ]] || fail "set CFG to the configuration of $TRAINER, one of: $(ls "configs/trainers/$TRAINER" || true)"
    yaml=configs/trainers/$TRAINER/$cfg.yaml
    name=$cfg${EPOCHS:+-ep$EPOCHS}
    [[ $seed =~ ^-?[0-9]+$ ]] || fail "SEED must be a whole number, not $seed; the arguments are DATASET SEED"
    if [[ -z $DATA && $dataset != emojinet* ]]; then
        fail "set DATA to the directory that holds $dataset, as in DATA=/data; only emojinet and emojinet_mono are embedded"
    fi
}

# last_epoch DIRECTORY: how many epochs the run there is trained, by its own config.yaml or the method's yaml.
last_epoch() {
    local file=$1/config.yaml epochs
    [[ -f $file ]] || file=$yaml
    epochs=$(sed -n 's/^ *MAX_EPOCH: *\([0-9][0-9]*\).*/\1/p' "$file" | tail -n 1)
    [[ -n $epochs ]] || fail "$file names no MAX_EPOCH; set LOADEP to the epoch of the checkpoint"
    echo "$epochs"
}

# pass_on COMMAND ...: run it so that SIGTERM or SIGINT to this script reaches it; its status, which is 75 when it has
# saved and stopped: the script ends with the same, and the same command goes on.
pass_on() {
    local status=0 child heard=
    "$@" &
    child=$!
    trap 'heard=1; kill -TERM "$child" 2>/dev/null || true' TERM INT
    wait "$child" || status=$?
    while [[ -n $heard ]]; do # the signal ended the waiting, not the command
        heard='' status=0
        wait "$child" || status=$?
    done
    trap - TERM INT
    return "$status"
}

# run DIRECTORY SUBSET [train.py's arguments ...]: one run of the method in `use`. With QUIET set it is one line.
run() {
    local directory=$1 subset=$2
    shift 2
    local command=(
        "$PYTHON" train.py --root "$DATA" --seed "$seed" --trainer "$TRAINER" --output-dir "$directory"
        --dataset-config-file "$dataset_yaml" --config-file "$yaml" "$@"
        DATASET.NUM_SHOTS "$SHOTS" DATASET.SUBSAMPLE_CLASSES "$subset"
    )
    [[ -z ${EPOCHS:-} ]] || command+=(OPTIM.MAX_EPOCH "$EPOCHS")
    command+=(${extra[@]+"${extra[@]}"})
    if [[ -z ${QUIET:-} ]]; then
        pass_on "${command[@]}" || exit $?
        return
    fi
    local began=$SECONDS before took
    before=$(cat "$directory/metrics.json" 2>/dev/null || true)
    printf '%-44s' "$QUIET"
    pass_on "${command[@]}" >/dev/null || fail_after_line $? # log.txt has it all
    took="$((SECONDS - began)) s"
    [[ $before != "$(cat "$directory/metrics.json")" ]] || took='done before'
    printf '%6s %%  %12s\n' "$(accuracy "$directory")" "$took"
}

# End the script with a status, below the line that `run` began.
fail_after_line() {
    echo
    exit "$1"
}

# The accuracy in a run's record, with one decimal.
accuracy() {
    local value
    value=$(sed -n 's/^ *"accuracy": \([0-9.e+-]*\),*$/\1/p' "$1/metrics.json")
    LC_ALL=C printf '%.1f' "${value:-0}"
}

# train_run DIRECTORY SUBSET: train. Every epoch is kept while it runs, so that a broken run resumes where it was;
# only the last is left when it is finished, unless CHECKPOINT_FREQ asked for more.
train_run() {
    run "$1" "$2" TRAIN.CHECKPOINT_FREQ "${CHECKPOINT_FREQ:-1}"
    [[ -z ${CHECKPOINT_FREQ:-} ]] || return 0
    local last file
    last=$(last_epoch "$1")
    for file in "$1"/*/model.pth.tar-*; do
        [[ ! -e $file || $file == *-"$last" ]] || rm -- "$file"
    done
}

# test_run DIRECTORY SUBSET [MODEL_DIR]: evaluate the checkpoint in MODEL_DIR; a zero-shot method has none.
test_run() {
    local model=() epoch
    if [[ -n ${3:-} ]]; then
        epoch=${LOADEP:-${EPOCHS:-$(last_epoch "$3")}}
        model=(--model-dir "$3" --load-epoch "$epoch")
    fi
    run "$1" "$2" --eval-only ${model[@]+"${model[@]}"}
}

# ---- protocols ----

# base2new_dir train_base|test_base|test_new: where the run of `use` goes in the family's tree.
base2new_dir() {
    echo "$OUTPUT/base2new/$1/$dataset/shots_$SHOTS/$TRAINER/$name/seed$seed"
}

# base2new_train [DATASET] [SEED] [KEY VALUE ...]: train on the first half of the classes; alone, the demonstration.
base2new_train() {
    if (($# == 0)); then
        demonstration
        return
    fi
    use "$1" "${2:-1}" "${@:3}"
    train_run "$(base2new_dir train_base)" base
}

# base2new_test [DATASET] [SEED] [KEY VALUE ...]: evaluate that training on the other half of the classes.
base2new_test() {
    use "${1:-emojinet}" "${2:-1}" "${@:3}"
    test_run "$(base2new_dir test_new)" new "$(base2new_dir train_base)"
}

# zeroshot_base2new [DATASET] [KEY VALUE ...]: evaluate on either half what learns nothing.
zeroshot_base2new() {
    use "${1:-emojinet}" 1 "${@:2}"
    local subset
    for subset in base new; do
        QUIET=${QUIET:+"test  $TRAINER, $subset classes"} test_run "$(base2new_dir "test_$subset")" "$subset"
    done
}

# zeroshot [DATASET] [KEY VALUE ...]: evaluate on all classes what learns nothing.
zeroshot() {
    use "${1:-emojinet}" 1 "${@:2}"
    test_run "$OUTPUT/evaluation/$TRAINER/${name}_${SHOTS}shots/$dataset/seed$seed" all
}

# base2new_both DATASET SEED [KEY VALUE ...]: train and evaluate, one line each.
base2new_both() {
    QUIET="train $TRAINER, seed $2${EPOCHS:+, $EPOCHS epochs}: base" base2new_train "$@"
    QUIET="test  $TRAINER, seed $2${EPOCHS:+, $EPOCHS epochs}: new" base2new_test "$@"
}

# The method against zero-shot CLIP on the embedded benchmark: seeds 1 to 3, one table.
demonstration() {
    local each
    echo "$TRAINER on EmojiNet: train on its base classes, test on base and on new ones."
    echo "Finished runs are kept: break off when you like, the same command goes on."
    echo
    for each in 1 2 3; do
        base2new_both emojinet "$each"
    done
    TRAINER=ZeroshotCLIP EPOCHS='' QUIET=1 zeroshot_base2new emojinet
    "$PYTHON" -m report tables "$OUTPUT/base2new" --table 1 --dataset EmojiNet
    echo
    echo "Logs: $OUTPUT/base2new/*/emojinet/*/*/*/seed*/log.txt"
}

# sweep [DATASET] [KEY VALUE ...]: SEEDS (1 2 3) by EPOCHS (a list; else the yaml's) through sweep.py, JOBS runs at
# once; then the mean over seeds. An empty tag leaves the results where the other scripts look for them.
sweep() {
    local list=${EPOCHS:-} seeds=${SEEDS:-1 2 3} changes=() one
    [[ -z ${LOADEP:-} ]] || fail "LOADEP is for base2new_test.sh; a sweep evaluates the last epoch"
    EPOCHS='' use "${1:-emojinet}" 1 "${@:2}"
    ((${#extra[@]} % 2 == 0)) || fail "${extra[*]: -1} stands alone; the arguments after DATASET are KEY VALUE pairs"
    set -- ${extra[@]+"${extra[@]}"}
    while (($# > 0)); do
        changes+=("$1=$2")
        shift 2
    done
    [[ -z ${CHECKPOINT_FREQ:-} ]] || changes+=("TRAIN.CHECKPOINT_FREQ=$CHECKPOINT_FREQ")
    pass_on "$PYTHON" sweep.py base2new --python "$PYTHON" --root "$DATA" --output "$OUTPUT" ${JOBS:+--jobs "$JOBS"} \
        "name=$TRAINER-$dataset" "trainers=$TRAINER" "configs=$name" "datasets=$dataset" "shots=$SHOTS" tag= \
        "seeds=[$(commas "$seeds")]" "epochs=[$(commas "${list:-null}")]" ${changes[@]+"${changes[@]}"} || exit $?
    for one in ${list:-yaml}; do
        EPOCHS=${one#yaml}
        use "$dataset" 1
        "$PYTHON" parse_test_res.py "$(dirname "$(base2new_dir train_base)")"
        "$PYTHON" parse_test_res.py "$(dirname "$(base2new_dir test_new)")" --test-log
    done
}

# commas LIST: its words with commas between them.
commas() {
    local words
    read -ra words <<<"$1"
    (IFS=, && echo "${words[*]}")
}

# fewshot [DATASET] [SEED] [KEY VALUE ...]: train and test on all classes, for every number of shots in the list SHOTS.
fewshot() {
    local list=$SHOTS each
    use "${1:-emojinet}" "${2:-1}" "${@:3}"
    for each in $list; do
        SHOTS=$each QUIET="$TRAINER, $dataset, $each shots, seed $seed" \
            train_run "$OUTPUT/$dataset/$TRAINER/${name}_${each}shots/seed$seed" all
    done
}

# xd_train [DATASET] [SEED] [KEY VALUE ...]: train on all classes of a source data set, SOURCE or imagenet.
xd_train() {
    use "${1:-${SOURCE:-imagenet}}" "${2:-1}" "${@:3}"
    train_run "$OUTPUT/$dataset/$TRAINER/${name}_${SHOTS}shots/seed$seed" all
}

# xd_test DATASET [SEED] [KEY VALUE ...]: evaluate that training on another data set.
xd_test() {
    (($# > 0)) || fail "the arguments are DATASET [SEED]: the data set to evaluate on what SOURCE (imagenet) trained"
    use "$1" "${2:-1}" "${@:3}"
    local source=${SOURCE:-imagenet}
    [[ -n ${SOURCE:-} || $dataset != emojinet* ]] || source=emojinet
    test_run "$OUTPUT/evaluation/$TRAINER/${name}_${SHOTS}shots/$dataset/seed$seed" all \
        "$OUTPUT/$source/$TRAINER/${name}_${SHOTS}shots/seed$seed"
}
