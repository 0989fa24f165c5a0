"""Downloading a file so that it is there whole and right, or not at all; an interrupted one resumes."""

import errno
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 20  # bytes
TRIES = 3
TIMEOUT = 60  # seconds without a byte
MARGIN = 1 << 26  # bytes to leave free on the disk


def download(url: str, target: Path, md5: str = "") -> None:
    """Fetch `url` to `target`, through `<target>.part`, which the next call continues if this one is interrupted.

    Raises OSError (connection, server, disk) or ValueError (checksum) with a sentence; `target` does not exist then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, TRIES + 1):
        try:
            transfer(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416 and attempt < TRIES:  # nothing lies beyond what we have: begin again
                discard(part)
                continue
            raise OSError(f"{url} was answered with {error.code} {error.reason}; nothing was fetched.") from error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                discard(part)
                raise OSError(f"The disk of {target.parent} is full; {target.name} was not kept. Free some.") from error
            if isinstance(error, PermissionError) or attempt == TRIES:
                raise OSError(interrupted(url, part, error)) from error
    verify(part, url, md5)
    part.replace(target)
    validator_of(part).unlink(missing_ok=True)


def interrupted(url: str, part: Path, error: Exception) -> str:
    """The sentence on a download that did not reach its end."""
    kept = part.stat().st_size if part.exists() else 0
    reason = getattr(error, "reason", error)
    rest = f"; {kept:,} bytes are kept, and the same command resumes from there" if kept else ""
    return f"The download of {url} was interrupted ({reason}){rest}."


def transfer(url: str, part: Path) -> None:
    """Append what is missing of `url` to `part`. Raises OSError or HTTPException if it stays incomplete."""
    done = part.stat().st_size if part.exists() else 0
    validator = validator_of(part)
    request = urllib.request.Request(url, headers={"User-Agent": "datasets.prepare"})
    mark = validator.read_text("latin-1") if done and validator.exists() else ""
    if mark and mark.isprintable():  # only a file known to be the same may be continued
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", mark)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            done = 0
            mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if mark:
                validator.write_text(mark, "latin-1")
            else:
                validator.unlink(missing_ok=True)
        total = announced(response.headers, done)
        check_room(part.parent, (total or done) - done)
        with part.open("ab" if done else "wb") as file, progress(url, done, total) as bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if total is None:
                    check_room(part.parent, 0)
            size = file.tell()
    if total is not None and size != total:
        raise ConnectionError(f"{size:,} of {total:,} bytes came")


def announced(headers: Message, done: int) -> int | None:
    """Size that the whole file will have; None if the server does not say. OSError if it says nonsense."""
    length, span = headers.get("Content-Length"), headers.get("Content-Range")
    if length is not None and not (length.isdecimal() and len(length) < 19):
        raise OSError(f"the server says that {length[:40]!r} bytes will come")
    if done and span is not None and not span.startswith(f"bytes {done}-"):
        raise OSError(f"the server sends {span[:40]!r} where the rest from byte {done} on was asked for")
    return None if length is None else done + int(length)


def check_room(folder: Path, size: int) -> None:
    """Raise OSError (ENOSPC) if `size` bytes do not fit on the disk of `folder`."""
    if shutil.disk_usage(folder).free < size + MARGIN:
        raise OSError(errno.ENOSPC, "not enough room")


def progress(url: str, done: int, total: int | None) -> tqdm:
    """A progress bar in bytes."""
    name = url.rpartition("/")[2]
    return tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None)


def validator_of(part: Path) -> Path:
    """File that keeps what the server said to recognise its file by."""
    return part.with_name(f"{part.name}.of")


def discard(part: Path) -> None:
    """Remove what came so far."""
    part.unlink(missing_ok=True)
    validator_of(part).unlink(missing_ok=True)


def verify(part: Path, url: str, md5: str) -> None:
    """Remove `part` and raise ValueError if its MD5 is not the published one; nothing is published for "" ."""
    if not md5:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != md5:
        discard(part)
        raise ValueError(
            f"{url} has the checksum {digest.hexdigest()} where {md5} is published; it was deleted. Try again; "
            "if it happens twice, the publisher's file has changed or something on the way alters it."
        )
