"""Few-shot samples: drawn as every run of the CoOp family draws them, kept in files its code reads and writes."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dassl.data.datasets import Datum

from datasets.files import write_atomically
from datasets.splits import Parts, random_numbers, relative

VAL_SHOTS = 4  # at most, of a class: the family's choice


def few_shot(generate: Callable, parts: Parts, shots: int, seed: int, cache: Path | None, images: Path) -> Parts:
    """`parts` with train and val reduced to a sample of `shots` and min(shots, 4) images a class.

    Args:
        generate: `generate_fewshot_dataset` of the data set; it draws from Python's global generator.
        parts: the whole lists; without "val", only train is drawn (ImageNet).
        shots: images a class.
        seed: of the draw, as the family's code is seeded when it draws; negative for none.
        cache: the sample's file: read if it is there, else written; None to draw every time.
        images: folder below which all images lie, wherever a cache was written.

    Raises ValueError if the cache is damaged, holds more than plain data, or does not belong to these lists.
    """
    drawn = {part: parts[part] for part in ("train", "val") if parts.get(part)}
    if cache and cache.is_file():
        print(f"The few-shot sample is read from {cache}")
        return parts | match(read_pickle(cache), drawn, cache, images)
    with random_numbers(seed):
        for part in drawn:  # train first: the order of the draws is part of what makes seeds comparable
            drawn[part] = generate(drawn[part], num_shots=shots if part == "train" else min(shots, VAL_SHOTS))
    if cache:
        write_cache(drawn, cache, "The few-shot sample")
    return parts | drawn


def write_cache(parts: Parts, cache: Path, what: str) -> None:
    """Pickle lists where and as CoOp's code looks for them; a folder that cannot be written to costs one line."""
    try:
        # protocol 4 is what Python 3.7, still in use with CoOp, can read
        write_atomically(cache, lambda file: pickle.dump(parts, file, protocol=4))
        print(f"{what} is kept in {cache}")
    except OSError as error:
        print(f"{what} could not be kept in {cache} ({error.strerror or error}); it is made again every time.")


class PlainUnpickler(pickle._Unpickler):
    """Knows Datum and nothing else; what a pickle takes for Datum is an empty class made for this one file.

    This is the unpickler written in Python: the faster one in C allocates a table of whatever size a file names, so
    that a file of ten bytes can ask for 64 GB. The one instruction by which this one would too is left out.
    """

    dispatch = {code: step for code, step in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        self.record = type("Record", (), {})

    def find_class(self, module: str, name: str) -> type:
        if (module, name) == ("dassl.data.datasets.base_dataset", "Datum"):
            return self.record
        raise ValueError(f"it refers to {module}.{name}, and only plain lists of Datum are allowed")

    def persistent_load(self, pid: object) -> object:
        raise ValueError("it refers to objects outside of the file")


class Cached(NamedTuple):
    """What a pickle says of an image. Not a Datum: upstream's insists that the file exists under that very path."""

    path: str
    label: int
    name: str


def read_pickle(path: Path) -> dict[str, list[Cached]]:
    """Lists of images by name, from a pickle of CoOp's code or ours; nothing in it is executed.

    Raises ValueError with the file's name if it is damaged or holds anything but plain containers and Datum.
    """
    advice = "Delete it, and it will be made anew."
    unpickler = PlainUnpickler(path.read_bytes())
    try:
        content = unpickler.load()
        if not isinstance(content, dict) or not all(isinstance(items, list) for items in content.values()):
            raise ValueError("it does not hold lists of images by name")
        return {str(part): [to_cached(item, unpickler.record) for item in items] for part, items in content.items()}
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error) if isinstance(error, ValueError) else f"damaged: {type(error).__name__}: {error}"
        raise ValueError(f"The file {path} was refused: {' '.join(reason.split())}. {advice}") from error


def to_cached(item: object, record: type) -> Cached:
    """The item of a pickle, a Datum; ValueError if it is none or its attributes are of other types."""
    fields = vars(item) if type(item) is record else {}
    path, label, domain = fields.get("_impath"), fields.get("_label"), fields.get("_domain", 0)
    name = fields.get("_classname", "")
    if not (isinstance(path, str) and type(label) is int and type(domain) is int and isinstance(name, str)):
        raise ValueError("an entry of its lists is no Datum with path, label, domain and class name")
    return Cached(path, label, name)


def match(cached: dict[str, list[Cached]], parts: Parts, cache: Path, images: Path) -> Parts:
    """The items of `parts` that `cached` names, in its order; paths may be those of another machine.

    Raises ValueError if an item is not in `parts`, has another label there, or a class is left out.
    """
    matched: Parts = {}
    for part, items in parts.items():
        known = {relative_fast(item.impath, images): item for item in items}
        matched[part] = []
        for item in cached.get(part, ()):
            found = find(item.path, known)
            if found is None or found.label != item.label:
                raise stale(cache, f"its {part!r} has {item.path} with label {item.label}, the data set has not")
            matched[part].append(found)
        if {item.label for item in matched[part]} != {item.label for item in items}:
            raise stale(cache, f"its {part!r} leaves out classes of the data set")
    return matched


def stale(cache: Path, reason: str) -> ValueError:
    """The error for a sample that was drawn from other lists."""
    return ValueError(
        f"The few-shot sample {cache} does not belong to the data set's lists: {reason}. "
        "Delete it, and it will be drawn anew; or restore the split file it was drawn from."
    )


def relative_fast(path: str, images: Path) -> str:
    """As `relative`, for the usual path that simply begins with the folder."""
    prefix = f"{images}/"
    return path[len(prefix) :] if path.startswith(prefix) else relative(path, images)


def find(path: str, known: dict[str, Datum]) -> Datum | None:
    """The item whose path below the image folder is the longest ending of `path` that is known."""
    pieces = path.replace("\\", "/").split("/") if path not in known else [path]
    return next((known[end] for i in range(len(pieces)) if (end := "/".join(pieces[i:])) in known), None)
