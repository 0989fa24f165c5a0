"""Files that keep few-shot samples, as pickles that CoOp-style code reads and writes."""

import io
import pickle
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from dassl.data.datasets import Datum

from datasets.files import shorten
from datasets.splits import PARTS, Parts, relative
from promptclip.common.files import write_atomically
from promptclip.common.unpickling import PlainUnpickler


def write_pickle(parts: Parts, path: Path, what: str) -> None:
    """Keep lists where and as CoOp's code looks for them; a folder that cannot be written to costs one line."""
    try:
        # protocol 4 is what Python 3.7, still in use with CoOp, can read
        write_atomically(path, lambda file: pickle.dump(parts, file, protocol=4))
        print(f"{what} is kept in {path}")
    except OSError as error:
        print(f"{what} could not be kept, and is made again every time: {error}")


class Record:
    """What a pickle takes for Datum. It keeps what it is given as one object: many may share it in a small file."""

    __slots__ = ("fields",)

    def __setstate__(self, fields: Any) -> None:
        self.fields = fields


class Listed(NamedTuple):
    """What a pickle says of an image. Not a Datum: upstream's insists that the file exists under that very path."""

    path: str
    label: int
    name: str


def read_pickle(path: Path) -> dict[str, list[Listed]]:
    """Lists of images by name, from a pickle of CoOp's code or ours; nothing in it is executed.

    Raises:
        ValueError: with the file's name, if it is damaged or holds anything but lists of Datum by the names of `PARTS`.
    """

    def find(module: str, name: str) -> type:
        if (module, name) == ("dassl.data.datasets.base_dataset", "Datum"):
            return Record
        raise ValueError(f"it refers to {module}.{name}, and only plain lists of Datum are allowed")

    try:
        content = PlainUnpickler(io.BytesIO(path.read_bytes()), find).load()
        if not isinstance(content, dict) or not all(isinstance(items, list) for items in content.values()):
            raise ValueError("it does not hold lists of images by name")
        strange = [key for key in content if key not in PARTS]
        if strange:
            raise ValueError(f"it holds something under {shorten(strange[0])}, and only {', '.join(PARTS)} are known")
        return {part: [to_listed(item) for item in items] for part, items in content.items()}
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error) if isinstance(error, ValueError) else f"damaged: {type(error).__name__}: {error}"
        raise ValueError(
            f"The file {path} was refused: {' '.join(reason.split())}. Delete it, and it will be made anew."
        ) from error


def to_listed(item: object) -> Listed:
    """The item of a pickle, a Datum; ValueError if it is none or its attributes are of other types or sizes."""
    fields = getattr(item, "fields", None) if isinstance(item, Record) else None
    fields = fields if isinstance(fields, dict) else {}
    path, label, domain = fields.get("_impath"), fields.get("_label"), fields.get("_domain", 0)
    name = fields.get("_classname", "")
    if not (isinstance(path, str) and type(label) is int and type(domain) is int and isinstance(name, str)):
        raise ValueError("an entry of its lists is no Datum with path, label, domain and class name")
    if len(path) > 4096 or not 0 <= label < 2**31:
        raise ValueError(f"an entry of its lists has the path {shorten(path)} and a label that no list can have")
    return Listed(path, label, name)


def match(kept: dict[str, list[Listed]], parts: Parts, counts: dict[str, int], file: Path, images: Path) -> Parts:
    """The items of `parts` that `kept` names, in its order; paths may be those of another machine.

    Args:
        kept: the lists of `read_pickle`.
        parts: the lists a sample is drawn from, "train" and perhaps "val".
        counts: images per class that are drawn of either list.
        file: where `kept` was read from, for error messages.
        images: folder below which all images lie.

    Raises:
        ValueError: if an item is not in `parts` or has another label there, or there are not as many images of each
            class as are drawn.
    """
    matched: Parts = {}
    for part, items in parts.items():
        known = {below(item.impath, images): item for item in items}
        steps = sorted({path.count("/") + 1 for path in known}, reverse=True)
        found = {}
        for item in kept.get(part, ()):
            own = find(item.path, known, steps)
            if own is None or own.label != item.label:
                raise stale(file, f"its {part!r} has {item.path} with label {item.label}, the data set has not")
            found[own.impath] = own
        matched[part] = list(found.values())
        there, drawn = (Counter(item.label for item in some) for some in (items, matched[part]))
        if there.keys() != drawn.keys():
            raise stale(file, f"its {part!r} leaves out classes of the data set")
        if len(found) != len(kept[part]):
            raise stale(file, f"its {part!r} has an image twice")
        for label, count in drawn.items():
            wanted = min(counts[part], there[label])
            if count != wanted:
                raise stale(file, f"its {part!r} has {count} image(s) of label {label}, where {wanted} are drawn")
    return matched


def stale(file: Path, reason: str) -> ValueError:
    """The error for a sample that was drawn from other lists."""
    return ValueError(
        f"The few-shot sample {file} does not belong to the data set's lists: {reason}. "
        "Delete it, and it will be drawn anew; or restore the split file it was drawn from."
    )


def below(path: str, images: Path) -> str:
    """As `relative`, but quick for the usual path that simply begins with the folder."""
    prefix = f"{images}/"
    return path[len(prefix) :] if path.startswith(prefix) else relative(path, images)


def find(path: str, known: dict[str, Datum], steps: list[int]) -> Datum | None:
    """The item whose path below the image folder is the longest ending of `path` that is known.

    `steps` are the numbers of steps that known paths have, the greatest first.
    """
    if path in known:
        return known[path]
    pieces = path.replace("\\", "/").split("/")
    endings = ("/".join(pieces[-count:]) for count in steps if count <= len(pieces))
    return next((known[end] for end in endings if end in known), None)
