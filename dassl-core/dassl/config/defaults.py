"""The defaults of every setting the engine knows; trainers add their own nodes below TRAINER."""

from collections.abc import Callable

from dassl.config.node import CfgNode as CN

# Which images a training loader takes at a time
STREAM = {"SAMPLER": "RandomSampler", "BATCH_SIZE": 32, "N_DOMAIN": 0, "N_INS": 16}

_C = CN(
    {
        "VERSION": 1,
        "OUTPUT_DIR": "./output",
        # Folder of an earlier run to resume from; empty: OUTPUT_DIR itself, if it holds checkpoints
        "RESUME": "",
        # Negative: no seed is set
        "SEED": -1,
        "USE_CUDA": True,
        "VERBOSE": True,
        "INPUT": {
            "SIZE": (224, 224),  # height, width
            "INTERPOLATION": "bilinear",
            "TRANSFORMS": (),
            "NO_TRANSFORM": False,
            "PIXEL_MEAN": [0.485, 0.456, 0.406],
            "PIXEL_STD": [0.229, 0.224, 0.225],
            "CROP_PADDING": 4,
            "RRCROP_SCALE": (0.08, 1.0),
            "CUTOUT_N": 1,
            "CUTOUT_LEN": 16,
            "GN_MEAN": 0.0,
            "GN_STD": 0.15,
            "RANDAUGMENT_N": 2,
            "RANDAUGMENT_M": 10,
            "COLORJITTER_B": 0.4,
            "COLORJITTER_C": 0.4,
            "COLORJITTER_S": 0.4,
            "COLORJITTER_H": 0.1,
            "RGS_P": 0.2,
            "GB_P": 0.5,
            "GB_K": 21,
        },
        "DATASET": {
            "ROOT": "",
            "NAME": "",
            "SOURCE_DOMAINS": (),
            "TARGET_DOMAINS": (),
            "NUM_LABELED": -1,
            "NUM_SHOTS": -1,
            "VAL_PERCENT": 0.1,
            "STL10_FOLD": -1,
            "CIFAR_C_TYPE": "",
            "CIFAR_C_LEVEL": 1,
            "ALL_AS_UNLABELED": False,
        },
        "DATALOADER": {
            "NUM_WORKERS": 4,
            # MiB of memory for training images kept decoded; 0: every image is read from disk in every epoch
            "CACHE_MB": 0,
            # Number of times the train transform is applied to an image
            "K_TRANSFORMS": 1,
            # Adds the untransformed image, as tensor "img0", to every batch
            "RETURN_IMG0": False,
            "TRAIN_X": STREAM,
            "TRAIN_U": {"SAME_AS_X": True, **STREAM},
            "TEST": {
                "SAMPLER": "SequentialSampler",
                "BATCH_SIZE": 32,
                # Worker processes of an evaluation; -1: one per core, up to 8, or none where NUM_WORKERS is 0
                "NUM_WORKERS": -1,
            },
        },
        "MODEL": {
            "INIT_WEIGHTS": "",
            "BACKBONE": {"NAME": "", "PRETRAINED": True},
            "HEAD": {"NAME": "", "HIDDEN_LAYERS": (), "ACTIVATION": "relu", "BN": True, "DROPOUT": 0.0},
        },
        "OPTIM": {
            "NAME": "adam",
            "LR": 0.0003,
            "WEIGHT_DECAY": 5e-4,
            "MOMENTUM": 0.9,
            # The spelling is upstream's, yaml files depend on it
            "SGD_DAMPNING": 0,
            "SGD_NESTEROV": False,
            "RMSPROP_ALPHA": 0.99,
            "ADAM_BETA1": 0.9,
            "ADAM_BETA2": 0.999,
            # Staged: all layers but NEW_LAYERS learn with LR * BASE_LR_MULT
            "STAGED_LR": False,
            "NEW_LAYERS": (),
            "BASE_LR_MULT": 0.1,
            "LR_SCHEDULER": "single_step",
            # Epochs of the steps; -1: one step after MAX_EPOCH, which is none
            "STEPSIZE": (-1,),
            "GAMMA": 0.1,
            "MAX_EPOCH": 10,
            "WARMUP_EPOCH": -1,
            "WARMUP_TYPE": "linear",
            "WARMUP_CONS_LR": 1e-5,
            "WARMUP_MIN_LR": 1e-5,
            # True: the schedule starts counting from 0 after the warm-up
            "WARMUP_RECOUNT": True,
        },
        "TRAIN": {
            # Epochs between checkpoints; 0: only the last epoch's
            "CHECKPOINT_FREQ": 0,
            # Batches between log lines
            "PRINT_FREQ": 10,
            # What an epoch of two streams counts: train_x, train_u, or smaller_one
            "COUNT_ITER": "train_x",
        },
        "TEST": {
            "EVALUATOR": "Classification",
            "PER_CLASS_RESULT": False,
            "COMPUTE_CMAT": False,
            "NO_TEST": False,
            "SPLIT": "test",
            # Count and list unreadable images of an evaluation instead of stopping at the first
            "SKIP_BROKEN": False,
            # Which model is tested after training: last_step or best_val
            "FINAL_MODEL": "last_step",
        },
        "TRAINER": {"NAME": ""},
    }
)

get_cfg_default: Callable[[], CN] = _C.clone
"""Returns a fresh, changeable copy of the defaults."""
