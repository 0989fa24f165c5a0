"""Image files are read as Dassl reads them for training, and what is no usable picture is refused in a sentence."""

import io
import warnings

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from dassl.utils.images import read_image
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import at_most, damage, damaged
from PIL import Image, ImageSequence

from promptclip import images
from promptclip.preprocessing import INTERPOLATIONS, RESIZES, Preprocessing

NOISE = np.random.RandomState(1).randint(0, 256, (23, 31, 4), dtype=np.uint8)
RGB = Image.fromarray(NOISE[..., :3])
GREY16 = Image.fromarray((NOISE[..., 0].astype(np.uint16) << 8) | NOISE[..., 1])


def files(folder):
    """One file of every kind that is read, and of those whose colours are not RGB."""
    saved = {
        **{f"rgb.{suffix}": RGB for suffix in ("jpg", "png", "bmp", "gif", "ppm", "tif", "webp")},
        **{f"{mode}.png": RGB.convert(mode) for mode in ("L", "1", "P")},
        "RGBA.png": Image.fromarray(NOISE, "RGBA"),
        "CMYK.jpg": RGB.convert("CMYK"),
        "I16.png": GREY16,
        "I16.tif": GREY16,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, image in saved.items():
            image.save(folder / name)
    return [folder / name for name in saved]


def test_files_are_read_as_dassl_reads_them(tmp_path):
    paths = files(tmp_path)
    for path in paths:
        assert np.array_equal(np.asarray(images.read(path)), np.asarray(read_image(str(path)))), path.name
    assert images.in_folder(tmp_path) == sorted(paths)


@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from(INTERPOLATIONS), st.sampled_from(RESIZES))
@settings(max_examples=25, deadline=None)
def test_preprocessing_is_dassls_test_transform(height, width, interpolation, resize):
    cfg = get_cfg_default()
    cfg.INPUT.RESIZE = resize
    cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION, cfg.VERBOSE = (32, 32), interpolation, False
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "normalize")
    mean, std = tuple(cfg.INPUT.PIXEL_MEAN), tuple(cfg.INPUT.PIXEL_STD)
    image = RGB.resize((width, height))
    mine = Preprocessing(32, interpolation, mean, std, resize)(image)
    assert torch.equal(mine, build_transform(cfg, is_train=False)(image))


def bad_files(folder):
    frames = [RGB.convert("P"), Image.fromarray(255 - NOISE[..., :3]).convert("P")]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    assert len(list(ImageSequence.Iterator(Image.open(folder / "animated.gif")))) == 2
    RGB.save(folder / "drawing.eps")
    RGB.crop((0, 0, 1, 1)).save(folder / "dot.png")
    RGB.resize((301, 1)).save(folder / "line.png")
    RGB.resize((901, 2)).save(folder / "band.png")
    Image.fromarray(NOISE[..., 0].astype(np.float32)).save(folder / "float.tif")
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    return {
        "animated.gif": "animated, or has several pages",
        "drawing.eps": "it is none of JPEG, PNG",
        "dot.png": "1 x 1 pixels show nothing",
        "line.png": "show nothing",
        "band.png": "more than 300 times the other",
        "float.tif": "unknown how bright",
        "text.jpg": "it is none of",
        "empty.png": "it is none of",
    }


def test_what_shows_nothing_is_refused_by_name(tmp_path):
    for name, sentence in bad_files(tmp_path).items():
        with pytest.raises(ValueError, match=rf"{name}.*{sentence}"):
            images.read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no image at"):
        images.read(tmp_path / "nothing.png")


@pytest.mark.parametrize("huge", [False, True])
def test_a_file_of_far_too_many_pixels_is_not_decoded(huge, tmp_path):
    side, sentence = (10_000, "more than 90,000,000") if not huge else (30_000, "900000000 pixels")
    (tmp_path / "huge.ppm").write_bytes(b"P6 %d %d 255\n" % (side, side) + b"\0" * 100)
    with pytest.raises(ValueError, match=sentence):
        images.read(tmp_path / "huge.ppm")


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"array \(H, W\)"),
        (torch.zeros(4, 4, 3), r"tensor \(3, H, W\)"),
        (torch.zeros(3, 1, 9), "2 and more"),
        (torch.full((3, 4, 4), 1.5), "from 0 to 1"),
        (torch.full((3, 4, 4), float("nan")), "from 0 to 1"),
        (np.zeros((4, 4), np.int64), "bytes, or numbers"),
        (3, "An image is a path"),
    ],
)
def test_arrays_that_are_no_images(image, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        images.read(image)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="holds no images"):
        images.in_folder(tmp_path)


SAVED = {}
for _kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
    _buffer = io.BytesIO()
    RGB.save(_buffer, _kind)
    SAVED[_kind] = _buffer.getvalue()


@given(st.sampled_from(sorted(SAVED)), damage)
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_read_or_refused(kind, harm):
    with at_most(5):
        try:
            read = images.read_file(io.BytesIO(damaged(SAVED[kind], harm)), "It")
        except ValueError as error:
            assert str(error).startswith("It cannot be read (")
        else:
            assert read.mode == "RGB"
