"""MATLAB's files (format 5) of labels and names, as plain values. A damaged one can neither crash nor fill the process.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.files import LARGEST

MATRIX, COMPRESSED = 14, 15  # kinds of elements
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}  # others, as in `struct`
TEXTS = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
CELL, STRUCT, CHAR = 1, 2, 4  # kinds of matrices; others hold numbers
UNFOLDED = 30
"""Bytes that a byte of a file may unfold to; of the published files to some 20."""


def read_matlab(path: Path, variable: str) -> list:
    """The entries of a variable: numbers; or texts, where it is a cell of texts; or, of a struct, {field: entries}.

    Raises:
        ValueError: if the file is damaged or another one, or unfolds to far more than its size justifies.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST)
        order = {b"IM": "<", b"MI": ">"}[data[126:128]]
        room = 2**20 + UNFOLDED * len(data)
        for kind, body in _elements(memoryview(data)[128:], order):
            if kind == COMPRESSED:
                unfolded = zlib.decompressobj().decompress(body, room)
                room -= len(unfolded)
                if room <= 0:
                    raise ValueError(f"it unfolds to more than {UNFOLDED} times its size")
                kind, body = next(_elements(memoryview(unfolded), order))
            if kind == MATRIX:
                name, value = _matrix(body, order)
                if name == variable and isinstance(value, list):
                    return value
        raise ValueError("there is no such variable")
    except OSError:
        raise
    except Exception as error:  # what a damaged file leads to
        raise ValueError(
            f"{path} cannot be read as a MATLAB file with {variable!r} ({type(error).__name__}: {error}); "
            "fetch it again."
        ) from error


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(kind, content) of what follows each other in `data`."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start, end = place + 8, place + 8 + size + (0 if kind == COMPRESSED else -size % 8)
        if kind >> 16:  # the short form: size, kind and content in 8 bytes
            kind, size, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        content = data[start : start + size]
        if len(content) < size:
            raise ValueError("it ends too early")
        yield kind, content
        place = end


def _matrix(data: memoryview, order: str) -> tuple[str, Any]:
    """(name, value) of a matrix: a text, or a list of numbers, of values, or of {field: value}."""
    if not data:
        return "", []  # an empty entry of a cell
    elements = _elements(data, order)
    kind = struct.unpack_from(f"{order}I", next(elements)[1])[0] & 0xFF
    count = math.prod(_numbers(*next(elements), order))
    name = bytes(next(elements)[1]).decode("ascii")
    if kind == CHAR:
        stored, content = next(elements)
        encoding = TEXTS[stored] + {"<": "-le", ">": "-be"}[order] if stored in (4, 17) else TEXTS[stored]
        return name, bytes(content).decode(encoding)
    if kind == CELL:
        values: list[Any] = [_matrix(body, order)[1] for _, body in elements]
    elif kind == STRUCT:
        (width,) = _numbers(*next(elements), order)
        names = bytes(next(elements)[1])
        fields = [names[n : n + width].split(b"\0")[0].decode("ascii") for n in range(0, len(names), width)]
        flat = [_matrix(body, order)[1] for _, body in elements]
        values = [dict(zip(fields, flat[n : n + len(fields)], strict=True)) for n in range(0, len(flat), len(fields))]
    else:
        values = _numbers(*next(elements), order)
    if len(values) != count:
        raise ValueError(f"{name!r} has {len(values)} entries instead of {count}")
    return name, values


def _numbers(kind: int, data: memoryview, order: str) -> list:
    """Stored numbers, those that are whole as int."""
    code = NUMBERS[kind]
    values = struct.unpack(f"{order}{len(data) // struct.calcsize(code)}{code}", data)
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
