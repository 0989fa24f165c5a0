"""Image files: what is read is what was meant, and no file runs, fills the memory or ends in a traceback."""

import os
import struct
import zlib

import numpy as np
import pytest
from dassl.data.transforms import build_transform
from dassl.utils import as_rgb, open_image, read_image
from dassl.utils.images import MAX_ASPECT
from PIL import Image

GREY = np.array([[0, 1, 257, 32768, 65535]], dtype=np.uint16)
EIGHT = [0, 0, 1, 128, 255]
TWELVE = np.frombuffer(b"\x00\x0f\xff\x80\x0f\xff", np.uint8)[None]  # 0, 4095, 2048, 4095, packed


def png(width, height, bits=8, colour=0, pixels=b""):
    """A PNG file of these dimensions, whatever its pixels are."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels, photometric=1, sample_format=1, bits=None, width=None):
    """A TIFF file of one channel and one row."""
    data, width = pixels.tobytes(), width or pixels.shape[1]
    bits = bits or pixels.itemsize * 8
    short, long = 3, 4
    entries = [
        (256, short, width),
        (257, short, 1),
        (258, short, bits),
        (259, short, 1),
        (262, short, photometric),
        (273, long, 8 + 2 + 12 * 10 + 4),
        (277, short, 1),
        (278, short, 1),
        (279, long, len(data)),
        (339, short, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0) + data


def written(tmp_path, content, name="a.img"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def levels(image):
    assert image.mode == "RGB"
    rows = np.asarray(image)
    assert (rows[..., 0] == rows[..., 1]).all() and (rows[..., 0] == rows[..., 2]).all()
    return rows[0, :, 0].tolist()


def test_images_are_read_as_rgb(tmp_path):
    Image.new("LA", (3, 2), (128, 255)).save(tmp_path / "grey.png")
    image = read_image(str(tmp_path / "grey.png"))
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), (128, 128, 128))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(5, 1, 16, 0, b"\0" + GREY.astype(">u2").tobytes()), EIGHT),
        (b"P5 5 1 65535\n" + GREY.astype(">u2").tobytes(), EIGHT),
        (b"P5 5 1 4095\n" + (GREY // 16).astype(">u2").tobytes(), [0, 0, 1, 128, 255]),
        (tiff(GREY), EIGHT),
        (tiff(GREY, photometric=0), [255 - level for level in EIGHT]),
        (tiff(np.array([[0, 1, 128, 255]], dtype=np.uint8), photometric=0), [255, 254, 127, 0]),
        (tiff(TWELVE, bits=12, width=4), [0, 255, 128, 255]),
    ],
    ids=["png", "pgm", "pgm of 12 bits", "tiff", "tiff, 0 is white", "tiff of 8 bits, 0 is white", "tiff of 12 bits"],
)
def test_deep_grey_keeps_its_brightness(tmp_path, content, expected):
    assert levels(read_image(written(tmp_path, content))) == expected


@pytest.mark.parametrize(
    "content",
    [
        tiff(GREY.astype(np.uint32)),
        tiff(GREY.astype(np.int32), sample_format=2),
        tiff(GREY.astype(np.int16), sample_format=2),
        tiff(np.array([[0, 100]], dtype=np.int8), sample_format=2),
        tiff((GREY / 65535).astype(np.float32), sample_format=3),
        b"Pf\n5 1\n-1.0\n" + (GREY / 65535).astype("<f4").tobytes(),
    ],
    ids=["unsigned 32", "signed 32", "signed 16", "signed 8", "float", "pfm"],
)
def test_unknown_brightness_is_refused_with_the_fix(tmp_path, content):
    with pytest.raises(ValueError, match="deep.tif.*save it with 8 or 16 bits per channel"):
        read_image(written(tmp_path, content, "deep.tif"))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "truncated"])
@pytest.mark.parametrize("name", ["broken.png", os.fsdecode(b"br\xffoken.png")])
def test_a_broken_image_is_named_in_a_printable_sentence(tmp_path, content, name):
    if content == "truncated":
        Image.effect_noise((64, 64), 90).save(tmp_path / "whole.png")
        content = (tmp_path / "whole.png").read_bytes()[:1000]
    with pytest.raises(ValueError, match="br.*oken.png.* cannot be read") as caught:
        read_image(written(tmp_path, content, name))
    assert str(caught.value).encode("utf-8") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gone.png", os.fsdecode(b"\xffgone.png")])
def test_a_missing_image_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="gone.png.*DATASET.ROOT") as caught:
        read_image(str(tmp_path / name))
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (png(1, 200_000, pixels=b"\0\0" * 200_000), "more than 300 times the other"),
        (png(200_000, 1, pixels=b"\0" * 200_001), "more than 300 times the other"),
        (png(60_000, 60_000), "cannot be read"),
        (png(12_000, 12_000), "12000 x 12000 pixels are more than 90,000,000"),
    ],
)
@pytest.mark.parametrize("read", [open_image, read_image])
def test_sizes_without_bounds_are_refused_before_decoding(tmp_path, content, hint, read):
    with pytest.raises(ValueError, match=f"huge.png.*{hint}|huge.png.*exceeds limit"):
        read(written(tmp_path, content, "huge.png"))


def test_the_longest_image_allowed_stays_small_when_resized(tmp_path, cfg):
    cfg.INPUT.SIZE = (224, 224)
    path = written(tmp_path, png(1, MAX_ASPECT, pixels=b"\0\0" * MAX_ASPECT))
    assert build_transform(cfg, is_train=False)(read_image(path)).shape == (3, 224, 224)


def test_other_formats_start_no_program(tmp_path):
    path = written(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "a.png")
    assert Image.open(path).format == "EPS"  # whose pixels Pillow has Ghostscript make
    with pytest.raises(ValueError, match="a.png.*cannot identify"):
        open_image(path)


def test_an_opened_image_is_decoded_later(tmp_path):
    path = written(tmp_path, png(5, 1, 16, 0, b"\0" + GREY.astype(">u2").tobytes()))
    with open_image(path) as image:
        assert (image.format, image.size) == ("PNG", (5, 1))
        assert levels(as_rgb(image)) == EIGHT
