"""What a record alone does not say: which data its data set's name stands for, which training its checkpoint is of."""

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from zlib import crc32

from report.names import DATASETS, OWN_DATASETS, registered_name

if TYPE_CHECKING:
    from report.records import RunRecord

EVALUATED_WITH = (
    "INPUT.SIZE",
    "INPUT.INTERPOLATION",
    "INPUT.PIXEL_",
    "INPUT.TRANSFORMS",
    "MODEL.BACKBONE.",
    "TEST.SPLIT",
)
"""Parts of the configuration by which two evaluations of one checkpoint can differ."""
NOT_AUGMENTATION = ("normalize", "instance_norm")
"""Those of INPUT.TRANSFORMS that test images go through too."""


def settle(records: list["RunRecord"], output: Path) -> None:
    """Give data sets of one's own their names, evaluations their training, and every record its protocol."""
    name_datasets(records)
    trainings = find_trainings(records, output)
    join_evaluations(trainings)
    for record, training in trainings.items():
        record.selected_on = record.selected_on or training.selected_on  # the checkpoint has it from there
    for record in records:
        settle_protocol(record, trainings.get(record))


def settle_protocol(record: "RunRecord", training: "RunRecord | None") -> None:
    """Fill in `protocol` and `source` where a record (schema 1) or a log does not say, or by an earlier name."""
    recorded = record.raw.get("dataset")
    if record.source and training and record.source == training.raw.get("dataset"):
        record.source = training.dataset
    elif record.source and record.source == recorded:
        record.source = record.dataset
    if record.subset in ("base", "new"):
        record.protocol = record.protocol or "base2new"
        return
    if training and not (record.protocol or record.source):
        record.source = training.dataset
    if not record.protocol or record.dataset != recorded:
        transferred = record.mode == "eval" and record.source not in (None, record.dataset)
        record.protocol = "cross_dataset" if transferred else "fewshot"


# Data sets of one's own


def name_datasets(records: list["RunRecord"]) -> None:
    """Name data sets of one's own by DATASET.LABEL, else by their folder or list, where a record does not yet.

    Data that no table could tell apart by that name gets what differs behind it, and a sentence says so.
    """
    own, taken, places = [], {*DATASETS, *DATASETS.values()}, {}
    for record in records:
        if record.config.get("DATASET.LABEL") or kind_of(record) in OWN_DATASETS:
            own.append(record)
        else:
            taken.add(record.dataset)
    for record in own:
        kind, (place, name) = kind_of(record), place_of(record)
        label = str(record.config.get("DATASET.LABEL") or name)
        if record.dataset == kind and label:  # as records before DATASET.LABEL have it
            record.dataset = f"{label}-{kind}" if label in taken and label != kind else label
        if label == name:  # a label that was chosen says itself what belongs together
            places[record] = place
    keep_apart(places, lambda record: record.dataset)
    contents = {record: contents_of(record) for record in own if record.raw.get("classnames")}
    keep_apart(contents, lambda record: (record.dataset, record.subset, record.config.get("TEST.SPLIT")))


def kind_of(record: "RunRecord") -> str:
    """The registered name of a record's data set."""
    return str(record.config.get("DATASET.NAME") or record.dataset)


def place_of(record: "RunRecord") -> tuple[str, str]:
    """The folder or list that a data set of one's own is read from, and its name; ("", "") where neither was kept."""
    root, listed = (str(record.config.get(f"DATASET.{key}") or "") for key in ("ROOT", "LIST"))
    listed = listed if kind_of(record) == "ImageList" else ""
    path = PurePath(os.path.normpath(os.path.join(root, listed)))
    return (str(path), path.stem if listed else path.name) if root else ("", "")


def contents_of(record: "RunRecord") -> str:
    """What a record tells of its test set."""
    return f"{record.raw.get('total')} test images, classes {crc32(repr(record.raw['classnames']).encode()):08x}"


def keep_apart(differing: Mapping["RunRecord", str], key: Callable[["RunRecord"], Hashable]) -> None:
    """Where records with one `key` differ, put what differs behind their data set's name."""
    together = defaultdict(list)
    for record in differing:
        together[key(record)].append(record)
    for members in together.values():
        found = sorted({differing[record] for record in members})
        if len(found) > 1:
            name = members[0].dataset
            print(
                f"{name} is the name of different data ({'; '.join(found)}): they are kept apart; "
                "give each a name of its own with DATASET.LABEL.",
                file=sys.stderr,
            )
            for record in members:
                record.dataset = f"{name} ({differing[record]})"


# The training behind a checkpoint


def find_trainings(records: list["RunRecord"], output: Path) -> dict["RunRecord", "RunRecord"]:
    """Evaluation to the training whose checkpoint it read, by its directory or by the checkpoint's digest."""
    endings, by_digest, found = defaultdict(list), defaultdict(set), {}
    for training in (record for record in records if record.mode == "train"):
        for place in range(len(training.directory.parts)):
            endings[training.directory.parts[place:]].append(training)
    for record in records:
        parts = PurePath(os.path.normpath(str(record.checkpoint.get("directory") or ""))).parts
        # output trees get moved: what counts is the longest ending that any training's directory has too
        ending = next((parts[place:] for place in range(len(parts)) if parts[place:] in endings), ())
        nearest = endings[ending]
        if len(nearest) == 1 and (ending == parts or identifies(ending, nearest[0], output)):
            found[record] = nearest[0]
            by_digest[digest_of(record)].add(nearest[0])
    for record in records:
        same = by_digest[digest_of(record)] if digest_of(record) else ()
        if record not in found and len(same) == 1:
            found[record] = next(iter(same))
    return found


def identifies(ending: tuple[str, ...], training: "RunRecord", output: Path) -> bool:
    """Whether only this training's path can end so: in all of it below `output`, or from its data set's name on."""
    whole = len(ending) >= len(training.path.relative_to(output).parts) > 0
    registered = training.raw.get("dataset", training.dataset)
    return whole or (len(ending) >= 4 and any(registered_name(part) == registered for part in ending))


def digest_of(record: "RunRecord") -> str:
    """The digests of the checkpoint that an evaluation read, as text; "" if there are none."""
    return str(record.checkpoint.get("sha256") or "")


def join_evaluations(trainings: dict["RunRecord", "RunRecord"]) -> None:
    """Count evaluations as part of the experiment, and of the seed, that trained their checkpoint.

    An experiment's digits depend on all options, also on those that only training uses and that an evaluation started
    by hand need not repeat. If several evaluations of one checkpoint on the same classes have different digits, or one
    reads its images in another way than the training's, they keep them.
    """
    together = defaultdict(list)
    for record, training in trainings.items():
        if (record.trainer, record.backbone) == (training.trainer, training.backbone) and not training.from_log:
            together[training, record.dataset, record.subset, record.epoch].append(record)
    for (training, *_), members in together.items():
        if len({record.experiment for record in members}) == 1 and evaluates_as(members[0], training):
            for record in members:
                if record.experiment != training.experiment:
                    record.experiment, record.shots = training.experiment, training.shots
                    record.epoch = training.epoch if record.epoch is None else record.epoch
                record.seed = training.seed


def evaluates_as(record: "RunRecord", training: "RunRecord") -> bool:
    """Whether an evaluation read images as the training's own would have, as far as that is known."""
    both = [key for key in record.config.keys() & training.config.keys() if key.startswith(EVALUATED_WITH)]
    return all(as_tested(key, record.config[key]) == as_tested(key, training.config[key]) for key in both)


def as_tested(key: str, value: Any) -> Any:
    """What of a setting concerns test images: of the transforms, those that are no augmentation."""
    if key == "INPUT.TRANSFORMS" and isinstance(value, list | tuple | str):
        return [name for name in NOT_AUGMENTATION if name in value]
    return value
