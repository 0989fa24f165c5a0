"""Images of any kind, a path, a Pillow image, an array or a tensor, as RGB; opened so that no file can do harm.

Files are read as Dassl reads them for training, so that a classifier sees what its trainer saw. Dassl is another
distribution, which this one does without, so the rules stand here too; a test compares the two.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from promptclip.common.machine import cores
from promptclip.preprocessing import Preprocessing

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"
"""A path; a Pillow image; an array (H, W) or (H, W, 3); a tensor (3, H, W). Pixels: bytes, or from 0 to 1."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""File names that a folder's images are known by."""
MAX_PIXELS = 90_000_000
MAX_ASPECT = 300
"""Longer by shorter side; an image beyond this would grow out of all bounds when its shorter side is resized."""
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # numbers of TIFF's tags


def read(image: ImageLike) -> Image.Image:
    """Any image as RGB, to be used as it is.

    Raises:
        FileNotFoundError: there is no file at the path.
        ValueError: it is no image, a broken, a far too large or an animated one; or an array or tensor of another
            shape, or with pixels out of range. A path is named.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if not path.is_file():
            raise FileNotFoundError(f'There is no image at "{path}".')
        return read_file(path, f'The image "{path}"')
    if isinstance(image, Image.Image):
        _check_size(image)
        return _as_rgb(image)
    if isinstance(image, Tensor | np.ndarray):
        return Image.fromarray(_pixels(image))
    raise TypeError(f"An image is a path, a Pillow image, an array or a tensor, not a {type(image).__name__}.")


def read_file(file: Path | IO[bytes], name: str) -> Image.Image:
    """An image file as RGB; `name` begins the sentence of an error.

    Only FORMATS are tried: the reader of another one, PostScript, would start a program on it.

    Raises:
        ValueError: see `read`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on oddities in metadata; a size beyond the limit is an error below
            with Image.open(file, formats=FORMATS) as image:
                _check_size(image)
                if getattr(image, "is_animated", False) and image.format != "MPO":  # a phone's JPEG with its preview
                    raise ValueError("it is animated, or has several pages: save the one that is meant")
                return _as_rgb(image)
    except Exception as error:  # damaged files make the decoders stumble in many ways
        raise ValueError(f"{name} cannot be read ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
    if min(width, height) < 2:
        raise ValueError(f"{width} x {height} pixels show nothing: both sides must have 2 at least")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(f"one side of {width} x {height} pixels is more than {MAX_ASPECT} times the other")


def _as_rgb(image: Image.Image) -> Image.Image:
    """RGB, 16 bits of grey brought to 8; ValueError where black and white are not known."""
    tags = getattr(image, "tag_v2", {})
    unsigned = set(tags.get(_SAMPLE_FORMAT, (1,))) <= {1, 4}
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if deep and unsigned:
        white = 2 ** tags.get(_BITS, (16,))[0] - 1
        grey = (np.asarray(image).astype(np.int64) * 255 + white // 2) // white
        grey = grey.clip(0, 255) if tags.get(_PHOTOMETRIC) != 0 else (255 - grey).clip(0, 255)  # 0: 0 is white
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if not unsigned or image.mode in ("I", "F"):
        raise ValueError(
            "its pixels are 32-bit, signed or floating-point numbers, of which it is unknown how bright they are: save "
            "it with 8 or 16 bits per channel"
        )
    return image.convert("RGB")


def _pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """(H, W, 3) bytes of an array (H, W) or (H, W, 3), or of a tensor (3, H, W)."""
    kind = "tensor" if isinstance(image, Tensor) else "array"
    shape = tuple(image.shape)
    right = (
        len(shape) == 3 and shape[0] == 3 if kind == "tensor" else len(shape) == 2 or (len(shape), shape[-1]) == (3, 3)
    )
    if not right or min(shape) < 2:
        wanted = "a tensor (3, H, W)" if kind == "tensor" else "an array (H, W) or (H, W, 3)"
        raise ValueError(f"An image is {wanted} with H and W of 2 and more, not a {kind} {shape}.")
    pixels = image.detach().cpu().permute(1, 2, 0).numpy() if isinstance(image, Tensor) else image
    if np.issubdtype(pixels.dtype, np.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # so that NaN is refused, too
            raise ValueError(
                "Pixels that are no bytes must be from 0 to 1; images that are normalised already go to `logits`."
            )
        pixels = (pixels * 255).round()
    elif pixels.dtype != np.uint8:
        raise ValueError(f"Pixels must be bytes, or numbers from 0 to 1, not {pixels.dtype}.")
    pixels = np.ascontiguousarray(pixels.astype(np.uint8))
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


# ---- many images -----------------------------------------------------------------------------------------------------


def one_by_one(images: Any) -> Iterable[ImageLike]:
    """What a caller gives as one image or many, as many: a folder as its images, a batch (N, 3, H, W) as N.

    Raises:
        FileNotFoundError: a folder holds no image.
    """
    if isinstance(images, str | os.PathLike):
        return in_folder(Path(images)) if Path(images).is_dir() else [images]
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, Tensor | np.ndarray):
        return images if images.ndim == 4 else [images]
    return images


def in_folder(folder: Path) -> list[Path]:
    """The image files in a folder and below it, by name; FileNotFoundError if there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise FileNotFoundError(f"The folder {folder} holds no images ({', '.join(SUFFIXES)}).")
    return found


def prepared(
    images: Iterable[ImageLike], preprocessing: Preprocessing, batch: int, ready: int = 2
) -> Iterator[list[Tensor | Exception]]:
    """Lists of `batch` images, read and preprocessed on all cores while the ones before are being used.

    What cannot be read stands as the exception in its image's place, so that one broken file ends nothing.

    Args:
        images: as `read` takes them.
        preprocessing: RGB image -> tensor (3, size, size).
        batch: how many at once.
        ready: how many batches wait at most.
    """

    def work(image: ImageLike) -> Tensor | Exception:
        try:
            return preprocessing(read(image))
        except (ValueError, OSError) as error:
            return error

    source, waiting = iter(images), list[list[Future[Tensor | Exception]]]()
    with ThreadPoolExecutor(cores()) as pool:
        while True:
            while len(waiting) < ready and (some := [pool.submit(work, one) for one in islice(source, batch)]):
                waiting.append(some)
            if not waiting:
                return
            yield [one.result() for one in waiting.pop(0)]


def stacked(images: list[Tensor | Exception]) -> Tensor:
    """(B, 3, size, size) of a batch; raises what stands in an image's place."""
    for one in images:
        if isinstance(one, Exception):
            raise one
    return torch.stack([one for one in images if isinstance(one, Tensor)])
