"""Files that keep few-shot samples, as pickles that CoOp-style code reads and writes."""

import io
import pickle
from pathlib import Path
from typing import NamedTuple

from dassl.data.datasets import Datum

from datasets.splits import Parts, relative
from promptclip.common.files import write_atomically
from promptclip.common.unpickling import PlainUnpickler

VAL_SHOTS = 4  # validation images per class, at most: CoOp's choice, and so everybody's


def write_pickle(parts: Parts, path: Path, what: str) -> None:
    """Keep lists where and as CoOp's code looks for them; a folder that cannot be written to costs one line."""
    try:
        # protocol 4 is what Python 3.7, still in use with CoOp, can read
        write_atomically(path, lambda file: pickle.dump(parts, file, protocol=4))
        print(f"{what} is kept in {path}")
    except OSError as error:
        print(f"{what} could not be kept, and is made again every time: {error}")


class Listed(NamedTuple):
    """What a pickle says of an image. Not a Datum: upstream's insists that the file exists under that very path."""

    path: str
    label: int
    name: str


def read_pickle(path: Path) -> dict[str, list[Listed]]:
    """Lists of images by name, from a pickle of CoOp's code or ours; nothing in it is executed.

    Raises:
        ValueError: with the file's name, if it is damaged or holds anything but plain containers and Datum.
    """
    record = type("Record", (), {})  # what the pickle takes for Datum: a class for this one file

    def find(module: str, name: str) -> type:
        if (module, name) == ("dassl.data.datasets.base_dataset", "Datum"):
            return record
        raise ValueError(f"it refers to {module}.{name}, and only plain lists of Datum are allowed")

    try:
        content = PlainUnpickler(io.BytesIO(path.read_bytes()), find).load()
        if not isinstance(content, dict) or not all(isinstance(items, list) for items in content.values()):
            raise ValueError("it does not hold lists of images by name")
        return {str(part): [to_listed(item, record) for item in items] for part, items in content.items()}
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error) if isinstance(error, ValueError) else f"damaged: {type(error).__name__}: {error}"
        raise ValueError(
            f"The file {path} was refused: {' '.join(reason.split())}. Delete it, and it will be made anew."
        ) from error


def to_listed(item: object, record: type) -> Listed:
    """The item of a pickle, a Datum; ValueError if it is none or its attributes are of other types."""
    fields = vars(item) if type(item) is record else {}
    path, label, domain = fields.get("_impath"), fields.get("_label"), fields.get("_domain", 0)
    name = fields.get("_classname", "")
    if not (isinstance(path, str) and type(label) is int and type(domain) is int and isinstance(name, str)):
        raise ValueError("an entry of its lists is no Datum with path, label, domain and class name")
    return Listed(path, label, name)


def match(kept: dict[str, list[Listed]], parts: Parts, file: Path, images: Path) -> Parts:
    """The items of `parts` that `kept` names, in its order; paths may be those of another machine.

    Raises:
        ValueError: if an item is not in `parts`, has another label there, or a class is left out.
    """
    matched: Parts = {}
    for part, items in parts.items():
        known = {below(item.impath, images): item for item in items}
        matched[part] = []
        for item in kept.get(part, ()):
            found = find(item.path, known)
            if found is None or found.label != item.label:
                raise stale(file, f"its {part!r} has {item.path} with label {item.label}, the data set has not")
            matched[part].append(found)
        if {item.label for item in matched[part]} != {item.label for item in items}:
            raise stale(file, f"its {part!r} leaves out classes of the data set")
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


def find(path: str, known: dict[str, Datum]) -> Datum | None:
    """The item whose path below the image folder is the longest ending of `path` that is known."""
    pieces = path.replace("\\", "/").split("/") if path not in known else [path]
    return next((known[end] for i in range(len(pieces)) if (end := "/".join(pieces[i:])) in known), None)
