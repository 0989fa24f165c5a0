"""The configuration of a run: defaults, every method's own node, the yaml files, the command line, in that order."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

import datasets
import trainers  # noqa: F401  registers the methods
from promptclip.common.names import flatten, nearest, unknown
from promptclip.common.yaml_file import read_yaml
from promptclip.load import backbone_names

SUBSETS = ("all", "base", "new")


def default_config() -> CfgNode:
    """Dassl's defaults, plus what the data sets and all registered trainers add to them."""
    cfg = get_cfg_default()
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"  # all, base (first half of the classes) or new (the rest)
    # Compute the towers' blocks again in the backward pass: on, off, or auto, where too little memory is free
    cfg.MODEL.CHECKPOINTING = "auto"
    cfg.MODEL.CUDA_GRAPH = True  # capture the training step once and replay it; on a CPU there is nothing to capture
    # What the record holds besides the result (docs/records.md); none of it changes a result
    cfg.TEST.SHIFT_IMAGES = 256  # test images that feature_shift is measured on at the end; 0: not measured
    cfg.TEST.SAVE_FEATURES = False  # features.npz of the test images and classes
    cfg.TRAIN.TRACK_SHIFT = False  # measure feature_shift after every epoch, in methods that do not use it too
    if hasattr(datasets, "extend_cfg"):
        datasets.extend_cfg(cfg)
    for name in TRAINER_REGISTRY.registered_names():
        extend_by_trainer(cfg, name)
    return cfg


def extend_by_trainer(cfg: CfgNode, name: str) -> None:
    """Add the defaults of trainer `name`'s own configuration node, if it has any."""
    trainer = TRAINER_REGISTRY.get(name)
    if hasattr(trainer, "extend_cfg"):
        trainer.extend_cfg(cfg)


def build_config(args: Namespace) -> CfgNode:
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
    cfg.freeze()
    return cfg


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
        raise ValueError(f"{path} must hold sections such as `OPTIM:` with `LR: 0.002` below, not a bare value.")
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
    try:
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = CfgNode({part: nested})
        cfg.merge_from_other_cfg(nested)
    except (ValueError, AssertionError) as error:
        wanted = leaves[key]
        raise ValueError(
            f"{key} in {source} must be of type {type(wanted).__name__}, such as {wanted!r}, not {value!r}."
        ) from error


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


def check_names(cfg: CfgNode) -> None:
    """Refuse, before anything is read or built, names that nothing is registered under."""
    methods, data_sets = TRAINER_REGISTRY.registered_names(), DATASET_REGISTRY.registered_names()
    if cfg.TRAINER.NAME not in methods:
        raise KeyError(unknown("trainer (--trainer)", cfg.TRAINER.NAME, methods))
    if cfg.DATASET.NAME not in data_sets:
        raise KeyError(unknown("data set (DATASET.NAME in --dataset-config-file)", cfg.DATASET.NAME, data_sets))
    if cfg.DATASET.SUBSAMPLE_CLASSES not in SUBSETS:
        raise ValueError(unknown("class subset (DATASET.SUBSAMPLE_CLASSES)", cfg.DATASET.SUBSAMPLE_CLASSES, SUBSETS))
    if TRAINER_REGISTRY.get(cfg.TRAINER.NAME).__module__.startswith("trainers."):
        check_backbone(cfg.MODEL.BACKBONE.NAME)


def check_backbone(name: str) -> None:
    """Refuse a backbone that is neither a name of CLIP's, nor the embedded one, nor a file."""
    if name not in backbone_names() and not Path(name).exists():
        raise KeyError(unknown("backbone (MODEL.BACKBONE.NAME), nor a file,", name, backbone_names()))


def check_data_root(root: str) -> None:
    """Refuse a data root that does not exist, before an output directory is begun."""
    if root and not Path(root).is_dir():
        raise FileNotFoundError(
            f"There is no data root {root} (--root): it must be a directory that holds one directory a data set, "
            "as in <root>/oxford_pets/images and <root>/oxford_pets/split_zhou_OxfordPets.json. "
            "Leave --root out for the embedded EmojiNet."
        )
