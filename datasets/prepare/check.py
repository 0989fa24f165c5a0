"""`check`: whether what lies on the disk is the data set, told in plain words."""

import os
import re
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.base import SplitDataset, sample_counts
from datasets.fewshot import match, read_pickle
from datasets.files import first_few, is_image
from datasets.prepare.catalogue import opened
from datasets.prepare.images import as_rgb, open_image
from datasets.splits import SPLIT_SEED, Parts, random_numbers

HUGE = 10_000_000  # pixels; of larger images one is decoded at a time
ONE_AT_A_TIME = threading.Lock()
SKIPPED = (".fetch", "split_fewshot")


@dataclass
class Report:
    """What was found, in sentences: facts and remarks that need no action, and problems."""

    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(cls: type[SplitDataset], root: str, read_images: bool = True, classes: bool = False) -> Report:
    """Examine the data set below `root`; nothing on the disk is changed.

    Args:
        cls: the data set.
        root: data root; "" for an embedded one.
        read_images: also decode every image, on all cores.
        classes: also list the number of images of every class.
    """
    report = Report()
    try:
        dataset = opened(cls, root)
        parts = dataset.read(save=False)
    except (OSError, ValueError, ImportError) as error:
        report.problems.append(str(error))
        return report
    if dataset.split_file and not (dataset.folder / dataset.split_file).exists():
        report.remarks.append(
            f"no {dataset.split_file}: a split will be made by rule, other images than the published split's"
        )
    if dataset.test_only:
        parts = {"test": parts["test"]}
    count(dataset, parts, report, classes)
    compare_files(dataset, parts, report)
    compare_names(dataset, parts, report)
    check_samples(dataset, parts, report)
    if read_images:
        check_readable(parts, report)
    return report


def count(dataset: Any, parts: Parts, report: Report, classes: bool) -> None:
    """Images per split and class, against the published sizes."""
    names = {item.label: item.classname for items in parts.values() for item in items}
    facts = dataset.facts
    counts = {part: Counter(item.label for item in items) for part, items in parts.items()}
    for part, items in parts.items():
        each = counts[part]
        least = min((each[label] for label in names), default=0)
        report.remarks.append(f"{part}: {len(items)} images, {least} to {max(each.values(), default=0)} per class")
        published = getattr(facts, part, len(items))
        if published and len(items) != published:
            report.problems.append(f"{part} has {len(items)} images, {published} are published.")
        empty = [names[label] for label in sorted(names) if not each[label]]
        if empty and part != "val":
            report.problems.append(f"{part} has no image of {first_few(empty)}.")
    report.remarks.append(f"classes: {len(names)}")
    if facts and len(names) != facts.classes:
        report.problems.append(f"There are {len(names)} classes, {facts.classes} are published.")
    if classes:
        for label in sorted(names):
            numbers = [f"{part} {each[label]}" for part, each in counts.items()]
            report.remarks.append(f"  {label} {names[label]}: {', '.join(numbers)}")


def compare_files(dataset: Any, parts: Parts, report: Report) -> None:
    """Images that are listed but not there, and the other way round."""
    listed = {os.path.normpath(item.impath) for items in parts.values() for item in items}
    missing = sorted(path for path in listed if not os.path.exists(path))  # or a link that leads nowhere
    unreadable: list[str] = []
    extra = sorted(images_in(dataset.images, unreadable) - listed)
    if missing:
        report.problems.append(
            f"{len(missing)} of {len(listed)} listed images are missing: {first_few(missing)}. " + dataset.expected()
        )
    elif unreadable:
        report.problems.append(f"{len(unreadable)} folder(s) cannot be read: {first_few(unreadable)}.")
    if extra:
        report.remarks.append(f"{len(extra)} images are in no list and are not used: {first_few(extra)}")


def images_in(root: Path, unreadable: list[str]) -> set[str]:
    """Paths of all image files below `root`, in every folder once however links lead there."""
    found, seen = set(), set()
    for folder, below, files in os.walk(root, followlinks=True, onerror=lambda error: unreadable.append(str(error))):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in SKIPPED)
        if (real := os.path.realpath(folder)) in seen:
            below.clear()
            continue
        seen.add(real)
        paths = (os.path.normpath(os.path.join(folder, file)) for file in files if is_image(file))
        found.update(path for path in paths if os.path.exists(path))
    return found


def compare_names(dataset: Any, parts: Parts, report: Report) -> None:
    """Labels and class names of a split file against the publisher's own files, or folders, where these are there."""
    can_be_made = type(dataset).make_parts is not SplitDataset.make_parts
    if not can_be_made or not dataset.split_file or not (dataset.folder / dataset.split_file).exists():
        return
    try:
        with random_numbers(SPLIT_SEED):
            made = dataset.make_parts()
    except (OSError, ValueError, ImportError):
        report.remarks.append("class names were not compared with the publisher's files, which are not there")
        return
    right = {item.impath: (item.label, item.classname) for items in made.values() for item in items}
    wrong = [
        f"{item.impath} is {item.label} {item.classname!r} in the split, {right[item.impath][0]} "
        f"{right[item.impath][1]!r} by the publisher's files"
        for items in parts.values()
        for item in items
        if right.get(item.impath, (item.label, item.classname)) != (item.label, item.classname)
    ]
    if wrong:
        report.problems.append(f"{len(wrong)} image(s) have another class than the publisher says: {wrong[0]}.")
    else:
        report.remarks.append("labels and class names agree with the publisher's files")


def check_samples(dataset: Any, parts: Parts, report: Report) -> None:
    """Few-shot samples kept earlier: whether they belong to these lists."""
    drawn = {part: parts[part] for part in ("train", "val") if parts.get(part)}
    for path in sorted(dataset.folder.glob("split_fewshot/shot_*.pkl")):
        shots = re.fullmatch(r"shot_(\d{1,9})-seed_-?\d+\.pkl", path.name)
        try:
            if shots:
                match(read_pickle(path), drawn, sample_counts(int(shots[1])), path, dataset.images)
        except ValueError as error:
            report.problems.append(str(error))


def check_readable(parts: Parts, report: Report) -> None:
    """Decode every image that is there, a thread per core (decoders let other threads run)."""
    paths = sorted({item.impath for items in parts.values() for item in items})
    paths = [path for path in paths if os.path.exists(path)]
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")  # on oddities in metadata
        results = tqdm(pool.map(fault, paths), total=len(paths), desc="reading images", unit="", disable=None)
        broken = [f"{path} ({error})" for path, error in zip(paths, results, strict=True) if error]
    if broken:
        report.problems.append(f"{len(broken)} image(s) cannot be read: {first_few(broken)}. Delete them, then fetch.")
    else:
        report.remarks.append(f"all {len(paths)} images can be read")


def fault(path: str) -> str:
    """What is wrong with an image; "" if it can be decoded to its last pixel."""
    try:
        with open_image(path) as image, ONE_AT_A_TIME if image.width * image.height > HUGE else nullcontext():
            as_rgb(image)
    except Exception as error:  # decoders raise nearly anything on broken files
        reason = error.__cause__ or error
        return " ".join(str(reason).split()) or type(reason).__name__
    return ""


def print_report(cls: type[SplitDataset], root: str, report: Report) -> None:
    """Print a report: the facts, then either that all is well or what is wrong and what to do next."""
    print(f"{cls.__name__}: {'fine' if not report.problems else f'{len(report.problems)} problem(s)'}")
    for line in report.remarks:
        print(f"  {line}")
    for line in report.problems:
        print(f"  ! {line}")
    if report.problems and cls.facts is not None and "Next: " not in "".join(report.problems):
        print(f"  Next: python -m datasets.prepare fetch {cls.__name__} --root {root or '<root>'}")
