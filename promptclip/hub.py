"""Trained classifiers to and from a model hub, with the package `huggingface_hub` (the extra "hub")."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptclip.folder import CARD, CONFIG, LARGEST, LARGEST_CONFIG, WEIGHTS

if TYPE_CHECKING:
    from promptclip.classifier import Classifier

MOST = {CONFIG: LARGEST_CONFIG, WEIGHTS: LARGEST, CARD: LARGEST_CONFIG}
"""The files of a classifier, and the bytes that each may have; nothing else of a repository is fetched."""


def _package(name: str) -> Any:
    try:
        import huggingface_hub.errors
    except ImportError:
        raise ModuleNotFoundError(
            f"There is no folder {name}. If that is a name on a model hub: it is reached with the package "
            "huggingface_hub, run `pip install huggingface_hub`."
        ) from None
    return huggingface_hub


def fetch(repository: str) -> Path:
    """The folder "user/name" of the hub, in the hub's cache; from there alone where it cannot be reached.

    Raises:
        ModuleNotFoundError: huggingface_hub is not installed.
        FileNotFoundError: the hub has no such repository, or it holds no classifier.
        ConnectionError: the hub cannot be reached, and the cache does not hold it.
        ValueError: a file is far too large.
    """
    hub = _package(repository)
    errors = hub.errors
    try:
        _check_sizes(hub, repository)
        return Path(hub.snapshot_download(repository, allow_patterns=list(MOST)))
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise ConnectionError(
                f"There is no folder {repository}, and the hub cannot be reached, nor does its cache hold that name."
            ) from error
        raise FileNotFoundError(
            f"There is neither a folder {repository} nor a trained classifier of that name on the hub."
        ) from error
    except errors.HfHubHTTPError as error:
        raise ConnectionError(f"{repository}: the hub answered {error.response.status_code}.") from error


def _check_sizes(hub: Any, repository: str) -> None:
    """Raise ValueError if a file is larger than a classifier's; what cannot be asked is left to the cache."""
    for name in (CONFIG, WEIGHTS):
        try:
            size = hub.get_hf_file_metadata(hub.hf_hub_url(repository, name)).size
        except hub.errors.HfHubHTTPError:
            raise
        except Exception:  # offline: which error that is depends on the client that the package's version has
            return
        if size is not None and size > MOST[name]:
            raise ValueError(f"{repository} holds a {name} of {size:,} bytes; a classifier's is smaller.")


def push(model: "Classifier", repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload a classifier's folder to "user/name", which is made where it is not there; returns the address.

    Raises:
        ModuleNotFoundError: huggingface_hub is not installed.
        ConnectionError: the hub cannot be reached, or refuses.
    """
    hub = _package(repository)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        try:
            api = hub.HfApi(token=token)
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository, folder_path=folder, allow_patterns=list(MOST), commit_message="Trained classifier"
            )
        except Exception as error:  # the package's, or those of the client that its version has
            raise ConnectionError(f"{repository} could not be uploaded: {str(error).splitlines()[0]}") from error
    return hub.hf_hub_url(repository, CARD).partition("/resolve/")[0]
