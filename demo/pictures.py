"""Emoji as drawn by several vendors: which drawings show one motif, and icons of Iconify's packages as pictures."""

import io
import re

from PIL import Image

SIZE = 64
# Words that tell apart drawings of one motif: without them "woman mechanic" and "mechanic" are the same.
PEOPLE = r"\b(man|woman|men|women|person|people|boy|girl|mrs|mr|mx|santa|facing right)\b\.?"
SAME = {"merman": "mer", "mermaid": "mer", "merperson": "mer", "princess": "prince", "older": "old"}


def motif(label: str) -> str:
    """What an emoji shows, from its label, whoever does it: "woman mechanic" is "mechanic"."""
    words = re.sub(PEOPLE, "", label.lower())
    return " ".join(SAME.get(word, word) for word in re.findall(r"\w+", words)) or "person"


def slug(label: str) -> str:
    """An emoji's label as files and icons are named."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def draw(icon: dict, width: int, height: int, background: str | None = None) -> Image.Image:
    """An Iconify icon as a picture of 64 x 64 pixels, RGBA unless it has a background.

    `width` and `height` are its set's, for an icon that names none of its own.
    """
    import resvg_py

    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon.get('width', width)} {icon.get('height', height)}"
    body = icon["body"].replace("currentColor", "#000")
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {space} width="{SIZE}" height="{SIZE}" viewBox="{box}">{body}</svg>'
    drawn = resvg_py.svg_to_bytes(
        svg_string=svg, width=SIZE, height=SIZE, background=background, skip_system_fonts=True
    )
    return Image.open(io.BytesIO(bytes(drawn))).convert("RGB" if background else "RGBA")
