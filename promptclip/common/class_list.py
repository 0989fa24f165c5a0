"""Class names as a command line gives them."""

from pathlib import Path

LARGEST = 20_000_000
"""Bytes that a file of class names may have."""


def class_list(text: str) -> list[str]:
    """The names in "a,b,c", or one a line in the file FILE of "@FILE".

    Raises:
        FileNotFoundError, ValueError: there is no such file; it is too large, or no text in UTF-8.
    """
    if not text.startswith("@"):
        return [name.strip() for name in text.split(",")]
    file = Path(text[1:]).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file} of class names (--classes @FILE).")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{file} has more than {LARGEST:,} bytes; class names stand in it one a line.")
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8; class names stand in it one a line.") from None
