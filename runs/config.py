"""The configuration of a run: defaults, every method's own node, the yaml files, the command line, in that order.

What cannot work is refused in a sentence with the fix.
"""

import argparse
import inspect
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

import trainers  # noqa: F401  registers the methods
from datasets.registered import extend_cfg
from promptclip.backbone import SCHEMES, backbone_names, find_source
from promptclip.common.names import flatten, nearest, unknown
from promptclip.common.yaml_file import read_yaml
from promptclip.preprocessing import Preprocessing
from runs.allowed import CHOICES, LENGTHS, ONCE_BOOLEAN, RANGES, check_range

PATHS = (
    *("OUTPUT_DIR", "RESUME", "DATASET.ROOT", "DATASET.LIST"),
    *("MODEL.INIT_WEIGHTS", "MODEL.BACKBONE.NAME"),
)
"""Keys in which a leading ~ is the user's home."""

# ---- defaults ----


def default_config() -> CfgNode:
    """Dassl's defaults, plus what the data sets, the runs and all registered trainers add to them."""
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.INPUT.RESIZE = "shortest"  # of test images: the shorter side to INPUT.SIZE and a square cut out, or "squash"
    cfg.MODEL.BACKBONE.ACTIVATION = ""  # quickgelu or gelu, of a NAME that is a file of weights, which does not say it
    # What the record holds besides the result (docs/records.md); none of it changes a result
    cfg.TEST.SHIFT_IMAGES = 256  # test images that feature_shift is measured on at the end; 0: not measured
    cfg.TEST.SAVE_FEATURES = False  # features.npz of the test images and classes
    # On a GPU with a seed: refuse operations without a deterministic algorithm, or name them in the record (warn)
    cfg.TRAIN.DETERMINISTIC = "strict"
    cfg.TRAIN.TRACK_SHIFT = False  # measure feature_shift after every epoch, in methods that do not use it too
    for name in TRAINER_REGISTRY.registered_names():
        extend_by_trainer(cfg, name)
    return cfg


def extend_by_trainer(cfg: CfgNode, name: str) -> None:
    """Add the defaults of trainer `name`'s own configuration node, if it has any."""
    trainer = TRAINER_REGISTRY.get(name)
    if hasattr(trainer, "extend_cfg"):
        trainer.extend_cfg(cfg)


def trainer_defaults(name: str) -> dict[str, Any]:
    """The defaults, by dotted name, that trainer `name` adds to Dassl's."""
    cfg = get_cfg_default()
    before = set(flatten(cfg))
    extend_by_trainer(cfg, name)
    return {key: value for key, value in flatten(cfg).items() if key not in before}


def describe_options(name: str) -> str:
    """A printed reference of the options of trainer `name`. Raises KeyError with the nearest name."""
    if name not in TRAINER_REGISTRY.registered_names():
        raise KeyError(unknown("trainer (--trainer)", name, TRAINER_REGISTRY.registered_names()))
    method = getattr(TRAINER_REGISTRY.get(name), "method", None)
    if hasattr(method, "describe"):
        return method.describe()
    options = [f"{key} {value!r}" for key, value in trainer_defaults(name).items()]
    return "\n".join([f"{name} says of its options only their names and defaults:", *options])


# ---- what is asked for ----


def build_config(args: argparse.Namespace) -> CfgNode:
    """The frozen configuration that the command line `args` asks for.

    Raises FileNotFoundError, KeyError or ValueError with a sentence that holds the fix.
    """
    cfg = default_config()
    for path in (args.dataset_config_file, args.config_file):
        if path:
            merge_file(cfg, Path(path))
    named = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "SEED": args.seed,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
    }
    for key, value in named.items():
        if value or value == 0:  # --seed 0 is a seed
            set_key(cfg, key, value, "the command line")
    merge_options(cfg, args.opts)
    take_preprocessing(cfg, set(args.opts[::2]))
    cfg.freeze()
    return cfg


def take_preprocessing(cfg: CfgNode, given: set[str]) -> None:
    """Set what is done to images as the backbone was trained, where its name leads to who says so (`SCHEMES`).

    Over the yaml files, which are for CLIP's own preprocessing; keys `given` on the command line stay.
    """
    if not cfg.MODEL.BACKBONE.NAME.startswith(tuple(SCHEMES)):
        return
    made = find_source(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.ACTIVATION).preprocessing
    values = {"SIZE": (made.size, made.size), "INTERPOLATION": made.interpolation, "RESIZE": made.resize}
    values |= {"PIXEL_MEAN": list(made.mean), "PIXEL_STD": list(made.std)}
    for name, value in values.items():
        if f"INPUT.{name}" not in given:
            cfg.INPUT[name] = value


def merge_file(cfg: CfgNode, path: Path, parents: tuple[Path, ...] = ()) -> None:
    """Merge a yaml file into `cfg`, first the file its key BASE names, if any (relative to its own folder).

    Files are read as data, nothing in them is run.
    """
    if not path.is_file():
        raise FileNotFoundError(missing_file(path))
    content = read_yaml(path)
    if content is None:
        return
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold sections such as `OPTIM:` with `LR: 0.002` below, not a single value.")
    base = content.pop("BASE", None)
    if base is not None:
        if not isinstance(base, str) or (path.parent / base).resolve() in (*parents, path.resolve()):
            raise ValueError(f"BASE in {path} must name another yaml file that does not lead back to this one.")
        merge_file(cfg, path.parent / base, (*parents, path.resolve()))
    merge_mapping(cfg, content, str(path))


def missing_file(path: Path) -> str:
    """One sentence on a configuration file that does not exist, with the nearest one beside it."""
    sentence = f"There is no configuration file {path}"
    if not path.parent.is_dir():
        return f"{sentence}, and no directory {path.parent} either."
    there = sorted(other.name for other in path.parent.glob("*.y*ml"))
    guess = nearest(path.name, there)
    hint = f"did you mean {guess}? " if guess else ""
    return f"{sentence}: {hint}{path.parent} holds {', '.join(there) or 'no yaml files'}."


def merge_mapping(cfg: CfgNode, content: Mapping, source: str, prefix: str = "") -> None:
    """Set every leaf of a nested mapping; `source` says in error messages where it stood."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        if "." in str(name):  # it could stand a second time, in its section
            raise ValueError(
                f"{key} in {source} must be written as sections: {str(name).split('.')[0]}: with the rest below."
            )
        if isinstance(value, Mapping):
            merge_mapping(cfg, value, source, f"{key}.")
        elif value is None and key in sections(cfg):
            continue  # a heading with nothing below it
        else:
            set_key(cfg, key, value, source)


def merge_options(cfg: CfgNode, options: list[str]) -> None:
    """Set the `KEY VALUE` pairs that end the command line."""
    flag = next((option for option in options[::2] if option.startswith("--")), None)
    if flag:
        raise ValueError(f"The option {flag} is unknown or stands after a KEY VALUE pair; `train.py --help` lists all.")
    if len(options) % 2:
        raise ValueError(f"KEY VALUE pairs end the command line, but {options[-1]!r} stands alone; give it a value.")
    for key, value in zip(options[::2], options[1::2], strict=True):
        set_key(cfg, key, value, "the command line")


def set_key(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    """Set one leaf, `key` being its dotted name; a text value is read as Python's literal where it is one."""
    leaves = flatten(cfg)
    if key in sections(cfg):
        raise ValueError(f"{key} in {source} is a section, not a value; set one of {within(leaves, key)}.")
    if key not in leaves:
        raise KeyError(f"In {source}: {unknown_key(key, leaves)}")
    if value is None or (value == "None" and not isinstance(leaves[key], str)):  # yacs would take it for any type
        raise ValueError(f"{key} in {source} has no value; give it one such as {leaves[key]!r}, or leave it out.")
    if not is_text(value):
        raise ValueError(f"{key} in {source} is {value!r}, which is no text in UTF-8; rename what it names.")
    if key in PATHS and isinstance(value, str):
        value = os.path.expanduser(value)
    value = ONCE_BOOLEAN.get(key, {}).get(str(value), value)
    try:
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = CfgNode({part: nested})
        cfg.merge_from_other_cfg(nested)
    except (ValueError, AssertionError, RecursionError, MemoryError) as error:
        wanted, given = leaves[key], repr(value)
        raise ValueError(
            f"{key} in {source} must be of type {type(wanted).__name__}, such as {wanted!r}, not {given[:200]}."
        ) from error


def is_text(value: Any) -> bool:
    """False for a text that cannot be written to a file: bytes of a file's name that are no UTF-8, half a character."""
    if isinstance(value, list | tuple):
        return all(map(is_text, value))
    return not isinstance(value, str) or not re.search("[\ud800-\udfff]", value)


def sections(cfg: CfgNode) -> set[str]:
    """The dotted names of all sections (nodes that hold other keys)."""
    found = set()
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            found |= {name} | {f"{name}.{inner}" for inner in sections(value)}
    return found


def within(keys: Iterable[str], section: str) -> str:
    """The keys right below `section`, as a list to read."""
    return ", ".join(key for key in keys if key.startswith(f"{section}."))


def unknown_key(key: str, leaves: Iterable[str]) -> str:
    """One sentence on an unknown dotted key: the nearest one, or what its section holds."""
    leaves = list(leaves)
    guess = nearest(key, leaves)
    if guess:
        return f"there is no configuration key {key}; did you mean {guess}?"
    section = key.rpartition(".")[0]
    listed = within(leaves, section) if section else ""
    return f"there is no configuration key {key}; {f'{section} has {listed}' if listed else 'configs/ shows some'}."


# ---- what cannot work, refused before anything is read ----


def check_names(cfg: CfgNode) -> None:
    """Refuse names that nothing is registered under.

    Raises:
        KeyError, ValueError: with the nearest name there is.
    """
    methods, data_sets = TRAINER_REGISTRY.registered_names(), DATASET_REGISTRY.registered_names()
    if cfg.TRAINER.NAME not in methods:
        raise KeyError(unknown("trainer (--trainer)", cfg.TRAINER.NAME, methods))
    if cfg.DATASET.NAME not in data_sets:
        raise KeyError(unknown("data set (DATASET.NAME in --dataset-config-file)", cfg.DATASET.NAME, data_sets))
    data_label(cfg)
    flat = flatten(cfg)
    for key, choices in CHOICES.items():
        if key in flat and flat[key] not in choices:
            raise ValueError(unknown(f"choice of {key}", flat[key], choices))
    if is_prompt_method(cfg.TRAINER.NAME):
        check_backbone(cfg.MODEL.BACKBONE.NAME)


def data_label(cfg: CfgNode) -> str:
    """What records call the run's data set: its registered name, or that of one's own images.

    Raises ValueError for a DATASET.LABEL that is no name.
    """
    label_of = getattr(DATASET_REGISTRY.get(cfg.DATASET.NAME), "label_of", None)
    return cfg.DATASET.NAME if label_of is None else label_of(cfg)


def is_prompt_method(trainer: str) -> bool:
    """Whether the trainer of that name is one of this project's, which prompt CLIP and take one view of an image."""
    kind = TRAINER_REGISTRY.get(trainer)
    return hasattr(kind, "method") or kind.__module__.startswith("trainers.")


def check_backbone(name: str) -> None:
    """Refuse a backbone that is neither a name of CLIP's, nor the embedded one, nor a file, nor one of SCHEMES."""
    if name.startswith(tuple(SCHEMES)):
        return  # `take_preprocessing` has found it
    if name not in backbone_names() and not Path(name).exists():
        raise KeyError(unknown("backbone (MODEL.BACKBONE.NAME), nor a file,", name, backbone_names()))


def check_places(cfg: CfgNode) -> None:
    """Refuse a data root that does not exist and an output directory without a name."""
    if not cfg.OUTPUT_DIR.strip():
        raise ValueError("OUTPUT_DIR is empty; name the directory of this run (--output-dir).")
    check_data_root(cfg.DATASET.ROOT)


def check_data_root(root: str) -> None:
    """Refuse a data root that does not exist."""
    if root and not Path(root).is_dir():
        raise FileNotFoundError(
            f"There is no data root {root} (--root): it must be a directory that holds one directory a data set, "
            "as in <root>/oxford_pets/images and <root>/oxford_pets/split_zhou_OxfordPets.json. "
            "Leave --root out for the embedded EmojiNet."
        )


def check_values(cfg: CfgNode) -> None:
    """Refuse impossible values.

    Raises:
        ValueError: with the allowed range.
    """
    flat = flatten(cfg)
    shots = cfg.DATASET.NUM_SHOTS
    if shots < 1 and shots != -1:
        raise ValueError(f"DATASET.NUM_SHOTS is {shots}; allowed are 1 and more, or -1 for all training images.")
    for key, length in LENGTHS.items():
        if len(flat[key]) != length:
            raise ValueError(f"{key} is {flat[key]!r}; it must have {length} entries.")
    for key, limits in RANGES.items():
        if key in flat:  # upstream's Dassl lacks some
            check_range(key, flat[key], *limits)
    low, high = cfg.INPUT.RRCROP_SCALE
    if not 0 < high >= low:
        raise ValueError(
            f"INPUT.RRCROP_SCALE is {cfg.INPUT.RRCROP_SCALE!r}; it must be the least and the greatest part of an image "
            "that is kept, such as (0.08, 1.0)."
        )
    if not cfg.INPUT.GB_K % 2:
        raise ValueError(f"INPUT.GB_K is {cfg.INPUT.GB_K}; the size of a blur is odd, such as 21.")
    if cfg.OPTIM.WARMUP_EPOCH > cfg.OPTIM.MAX_EPOCH:
        raise ValueError(
            f"OPTIM.WARMUP_EPOCH is {cfg.OPTIM.WARMUP_EPOCH}, but OPTIM.MAX_EPOCH only {cfg.OPTIM.MAX_EPOCH}; "
            f"allowed is -1 (none) to {cfg.OPTIM.MAX_EPOCH}."
        )
    if cfg.INPUT.NO_TRANSFORM:
        raise ValueError(
            "INPUT.NO_TRANSFORM is True, but images that are not made tensors make no batch; set it False."
        )
    if is_prompt_method(cfg.TRAINER.NAME) and "normalize" not in cfg.INPUT.TRANSFORMS:
        raise ValueError(
            f"INPUT.TRANSFORMS is {tuple(cfg.INPUT.TRANSFORMS)!r}, without normalize: CLIP would see images as it "
            "was never trained on; give the method's yaml with --config-file, or add normalize."
        )
    views = cfg.DATALOADER.K_TRANSFORMS
    if is_prompt_method(cfg.TRAINER.NAME):
        taken = getattr(getattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "method", None), "views", 1)
        if views != taken:
            raise ValueError(
                f"DATALOADER.K_TRANSFORMS is {views}, but {cfg.TRAINER.NAME} takes {taken} of an image's "
                f"views; set it to {taken}."
            )
    check_method(cfg)


def check_method(cfg: CfgNode) -> None:
    """Refuse impossible options of the method, where it says which are: by a class method `check_options(cfg)`."""
    check = getattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "check_options", None)
    if inspect.ismethod(check):
        check(cfg)


# ---- and once data and model are there, before an image is read; what depends on the backbone its trainer checks ----


def check_trainer(cfg: CfgNode, trainer: Any, trains: bool) -> None:
    """Refuse what the data or the trainer cannot do, which would only come out after the training.

    Args:
        cfg: the run's configuration.
        trainer: as Dassl built it.
        trains: whether it is going to be trained, not only evaluated.
    """
    if trains:
        check_batch(cfg, trainer)
    if hasattr(trainer, "loaded") and preprocessing(cfg) != trainer.loaded.preprocessing:
        print(
            f"Note: the backbone was trained on {trainer.loaded.preprocessing}, and the INPUT section asks for "
            f"{preprocessing(cfg)}."
        )
    tests = not trains or not cfg.TEST.NO_TEST
    validates = cfg.TEST.SPLIT == "val" or (trains and cfg.TEST.FINAL_MODEL == "best_val")
    if tests and validates and getattr(trainer, "val_loader", None) is None:
        raise ValueError(
            f"TEST.SPLIT is {cfg.TEST.SPLIT} and TEST.FINAL_MODEL {cfg.TEST.FINAL_MODEL}, but {cfg.DATASET.NAME} has "
            "no validation images; set TEST.SPLIT test and TEST.FINAL_MODEL last_step."
        )
    if cfg.TEST.SAVE_FEATURES and not hasattr(trainer, "image_shift"):
        raise ValueError(f"TEST.SAVE_FEATURES is True, but {cfg.TRAINER.NAME} has no features; set it False.")


def preprocessing(cfg: CfgNode) -> Preprocessing:
    """What the run's test does to an image."""
    said = cfg.INPUT
    means = (tuple(map(float, said.PIXEL_MEAN)), tuple(map(float, said.PIXEL_STD)))
    return Preprocessing(max(said.SIZE), said.INTERPOLATION, *means, said.get("RESIZE", "shortest"))


def check_batch(cfg: CfgNode, trainer: Any) -> None:
    """Refuse a training batch that is larger than the training set."""
    size, images = cfg.DATALOADER.TRAIN_X.BATCH_SIZE, len(getattr(trainer.dm.dataset, "train_x", None) or [])
    if trainer.get_model_names() and size > images:
        raise ValueError(
            f"DATALOADER.TRAIN_X.BATCH_SIZE is {size}, but the training set has {images:,} images "
            f"(DATASET.NUM_SHOTS {cfg.DATASET.NUM_SHOTS}); allowed is 1 to {images:,}."
        )
