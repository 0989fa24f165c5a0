"""Damage for files: hypothesis strategies that flip, cut, repeat and insert bytes, also inside of a zip archive."""

import io
import signal
import zipfile
from contextlib import contextmanager

from hypothesis import strategies as st

# what pickles, images, JSON and yaml trip over
TOKENS = [b"\x00", b"\xff" * 4, b"\x7f\xff\xff\xff", b"r\xff\xff\xff\xff", b"cos\nsystem\n", b"[" * 300, b"&a [*a,*a]"]
TOKENS += [b"1e999", b"NaN", b'"', b"\n", b"]", b"../", b"-1", b"\x94", b"R.", b"b.", b"\x81", b"\x8a\xff", b"Q"]
step = st.tuples(
    st.sampled_from(["flip", "flip", "cut", "drop", "repeat", "insert", "token", "swap"]),
    st.integers(0, 2**24),
    st.integers(0, 2**12),
    st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=6)),
)
damage = st.tuples(st.booleans(), st.integers(0, 50), st.lists(step, min_size=1, max_size=5))


def mutate(data: bytes, steps) -> bytes:
    """`data` after every step."""
    for kind, where, length, text in steps:
        at = where % (len(data) + 1)
        end = min(len(data), at + 1 + length)
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (text[0] or 1)]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[end:]
        elif kind == "repeat":
            data = data[:end] + data[at:]
        elif kind in ("insert", "token"):
            data = data[:at] + text + data[at + len(text) * (kind == "token") :]
        elif kind == "swap":
            data = data[end:] + data[:at]
    return data


def damaged(data: bytes, harm) -> bytes:
    """`data` after a draw of `damage`: the file itself, or one part of the archive it is, with a right check sum."""
    inside, part, steps = harm
    if not inside or not zipfile.is_zipfile(io.BytesIO(data)):
        return mutate(data, steps)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        pickled = [name for name in names if name.endswith("data.pkl")]
        chosen = (
            names[part % len(names)] if part % 5 == 0 or not pickled else pickled[0]
        )  # the structure is in data.pkl
        for name in names:
            content = old.read(name)
            new.writestr(name, mutate(content, steps) if name == chosen else content)
    return out.getvalue()


class Hangs(BaseException):
    """Not an Exception, so that no reader can take it for a damaged file."""


@contextmanager
def at_most(seconds: float):
    """Raise Hangs if the block takes longer."""

    def ring(*_):
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
