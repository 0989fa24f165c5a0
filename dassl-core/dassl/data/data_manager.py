"""From the items of a data set to batches: transforms, loaders, workers."""

import atexit
import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms as T

from dassl.data.datasets import Datum, build_dataset
from dassl.data.samplers import build_sampler
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from dassl.utils.images import ImageCache, cores

Transform = Callable | Sequence[Callable] | None

MAX_WORKERS = 256
MANY_WORKERS = 8  # more of them do not decode faster than a GPU takes, and each has batches in shared memory
IN_FLIGHT = 2  # batches of a worker: those that torch prefetches
"""Worker processes of a loader; a slip of the keyboard must not fork without end."""

BROKEN = "broken"
"""Key of a batch under which the sentences on its unreadable images stand; an item that has it has nothing else."""


class DatasetWrapper(TorchDataset):
    """Items as dicts: label, domain, impath, index, and `img` (with a list of transforms also `img2`, `img3`, …).

    With DATALOADER.K_TRANSFORMS > 1 a training image is a list of that many; RETURN_IMG0 adds the plain one as `img0`.
    """

    def __init__(self, cfg: Any, data_source: Sequence[Datum], transform: Transform = None, is_train: bool = False):
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        self.cache = ImageCache(cfg.DATALOADER.get("CACHE_MB", 0) if is_train else 0)
        if self.k_tfm > 1 and transform is None:
            raise ValueError("DATALOADER.K_TRANSFORMS above 1 needs a transform; set INPUT.NO_TRANSFORM to False.")
        plain = [
            T.Resize(tuple(cfg.INPUT.SIZE), interpolation=INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]),
            T.ToTensor(),
        ]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            plain.append(T.Normalize(mean=list(cfg.INPUT.PIXEL_MEAN), std=list(cfg.INPUT.PIXEL_STD)))
        self.to_tensor = T.Compose(plain)

    def __len__(self) -> int:
        return len(self.data_source)

    def keep_images(self) -> None:
        """Decode what DATALOADER.CACHE_MB has room for, unless that is done."""
        if self.cache.images is None:
            self.cache.fill([item.impath for item in self.data_source])
            if self.cfg.VERBOSE:
                print(f"* {len(self.cache.images):,} of {len(self):,} training images kept decoded in memory")

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        try:
            image = self.cache.read(item.impath)
        except (ValueError, OSError) as err:
            if self.is_train or not self.cfg.TEST.get("SKIP_BROKEN", False):
                raise
            return {BROKEN: str(err)}
        output = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": idx}
        if isinstance(self.transform, list | tuple):
            for n, transform in enumerate(self.transform, start=1):
                output["img" if n == 1 else f"img{n}"] = self._transformed(transform, image)
        else:
            output["img"] = image if self.transform is None else self._transformed(self.transform, image)
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output

    def _transformed(self, transform: Callable, image: Any) -> Any:
        """Return the transformed image, or the list of `k_tfm` of them."""
        images = [transform(image) for _ in range(self.k_tfm)]
        return images[0] if self.k_tfm == 1 else images


class CachingLoader(DataLoader):
    """A loader whose data set fills its cache before the first batch, and not at all where none is asked for."""

    def __iter__(self):
        self.dataset.keep_images()
        return super().__iter__()


def collate_readable(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch of the readable items (TEST.SKIP_BROKEN); it holds nothing but `BROKEN` if there are none."""
    readable = [item for item in items if BROKEN not in item]
    batch = default_collate(readable) if readable else {}
    return batch | {BROKEN: [item[BROKEN] for item in items if BROKEN in item]}


def worker_count(cfg: Any, is_train: bool, batches: int) -> int:
    """Return the number of a loader's worker processes.

    For training it is DATALOADER.NUM_WORKERS, for an evaluation DATALOADER.TEST.NUM_WORKERS: with -1 one per core that
    falls to this process of DASSL_JOBS (in the environment) on the machine, at most `MANY_WORKERS`, or none where
    training has none, and never more than one per batch.

    Raises:
        ValueError: one of the two is no number of processes that a machine can bear.
    """
    training = cfg.DATALOADER.NUM_WORKERS
    _check_workers("DATALOADER.NUM_WORKERS", training, "0 (none)", 0)
    if is_train:
        return training
    asked = cfg.DATALOADER.TEST.get("NUM_WORKERS", training)
    _check_workers("DATALOADER.TEST.NUM_WORKERS", asked, "-1 (all cores), 0 (none)", -1)
    if asked >= 0:
        return min(asked, batches)
    jobs = os.environ.get("DASSL_JOBS", "1")
    share = max(1, cores() // int(jobs)) if jobs.isdecimal() and int(jobs) else cores()
    return min(share, MANY_WORKERS, batches) if training else 0


def check_shared_memory(workers: int, batch: int, bytes_per_image: int, folder: Path = Path("/dev/shm")) -> str:
    """Return a sentence where batches on their way from `workers` would not fit into shared memory, "" where they do.

    A container has 64 MB of it unless told otherwise, and a worker that finds none left is killed without a word.
    """
    if not workers or not folder.is_dir():
        return ""
    needed, free = workers * IN_FLIGHT * batch * bytes_per_image, shutil.disk_usage(folder).free
    if needed <= free:
        return ""
    return (
        f"Note: {workers} loader workers may need {needed / 2**20:,.0f} MiB of shared memory, and {folder} has "
        f"{free / 2**20:,.0f} MiB free; give the container more (docker run --shm-size 2g), or set "
        "DATALOADER.NUM_WORKERS and DATALOADER.TEST.NUM_WORKERS lower."
    )


def _check_workers(key: str, number: Any, lowest: str, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= MAX_WORKERS:
        raise ValueError(f"{key} is {number!r}; allowed is {lowest} or more, up to {MAX_WORKERS}.")


def ignore_stop_signals(worker_id: int) -> None:
    """Leave it to the main process to answer SIGTERM and SIGINT, which reach a whole job: it ends its workers."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def end_workers() -> None:
    """End loader workers that are left at exit, as when an error's traceback holds their iterator.

    Python would send them SIGTERM, which they leave to the main process, and wait for them for ever.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def build_data_loader(
    cfg: Any,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Transform = None,
    is_train: bool = True,
    dataset_wrapper: type | None = None,
) -> DataLoader:
    """Return a loader of dict batches; for training, the last incomplete batch is dropped unless it is the only one.

    Args:
        cfg: the configuration.
        sampler_type: name of the order in which the items are taken.
        data_source: the items.
        batch_size: images per batch.
        n_domain: domains per batch, for the domain samplers; 0: all.
        n_ins: images per class, for RandomClassSampler.
        tfm: what is done to an image; of a list, each gives an image of its own.
        is_train: whether this is for training.
        dataset_wrapper: stands for DatasetWrapper.

    Raises:
        ValueError: there is nothing to load.
    """
    split = "training" if is_train else "evaluation"
    if not data_source:
        raise ValueError(
            f"The {split} set of {cfg.DATASET.NAME or 'the data set'} is empty; check its folder below "
            f'DATASET.ROOT ("{cfg.DATASET.ROOT}") and DATASET.NUM_SHOTS ({cfg.DATASET.NUM_SHOTS}).'
        )
    if batch_size < 1:
        raise ValueError(f"BATCH_SIZE must be at least 1, not {batch_size}.")
    skips = not is_train and cfg.TEST.get("SKIP_BROKEN", False)
    workers = worker_count(cfg, is_train, math.ceil(len(data_source) / batch_size))
    short = check_shared_memory(workers, batch_size, 4 * 3 * math.prod(cfg.INPUT.SIZE))
    if short:
        print(short)
    wrapper = dataset_wrapper or DatasetWrapper
    cached = is_train and cfg.DATALOADER.get("CACHE_MB", 0) and hasattr(wrapper, "keep_images")
    loader = (CachingLoader if cached else DataLoader)(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=build_sampler(sampler_type, cfg, data_source, batch_size, n_domain, n_ins),
        num_workers=workers,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
        # Training draws its workers' seed from torch's global generator; they seed torch, Python and NumPy from it.
        # An evaluation has a generator of its own: how often one evaluates must not change
        # the training batches that follow.
        generator=None if is_train else torch.Generator(),
        worker_init_fn=ignore_stop_signals if workers else None,
        **({"collate_fn": collate_readable} if skips else {}),
    )
    if not len(loader):
        raise ValueError(
            f"{sampler_type} makes no batch of {batch_size} from {len(data_source)} images; lower BATCH_SIZE."
        )
    return loader


class DataManager:
    """The data set `dataset`, the loaders train_loader_x, train_loader_u, val_loader, test_loader, and the classes.

    Args:
        cfg: the configuration.
        custom_tfm_train: stands for the training transform that cfg asks for.
        custom_tfm_test: stands for the test transform.
        dataset_wrapper: stands for DatasetWrapper.

    Raises:
        ValueError: the training or the test set is empty.
    """

    def __init__(
        self,
        cfg: Any,
        custom_tfm_train: Transform = None,
        custom_tfm_test: Transform = None,
        dataset_wrapper: type | None = None,
    ):
        dataset = build_dataset(cfg)
        for name, custom in (("training", custom_tfm_train), ("testing", custom_tfm_test)):
            if custom is not None and cfg.VERBOSE:
                print(f"* Using custom transform for {name}")
        tfm_train = build_transform(cfg, is_train=True) if custom_tfm_train is None else custom_tfm_train
        tfm_test = build_transform(cfg, is_train=False) if custom_tfm_test is None else custom_tfm_test

        def train_loader(source: Sequence[Datum], settings: Any) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=settings.SAMPLER,
                data_source=source,
                batch_size=settings.BATCH_SIZE,
                n_domain=settings.N_DOMAIN,
                n_ins=settings.N_INS,
                tfm=tfm_train,
                is_train=True,
                dataset_wrapper=dataset_wrapper,
            )

        def test_loader(source: Sequence[Datum]) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=cfg.DATALOADER.TEST.SAMPLER,
                data_source=source,
                batch_size=cfg.DATALOADER.TEST.BATCH_SIZE,
                tfm=tfm_test,
                is_train=False,
                dataset_wrapper=dataset_wrapper,
            )

        loaders = cfg.DATALOADER
        self.dataset = dataset
        self.train_loader_x = train_loader(dataset.train_x, loaders.TRAIN_X)
        self.train_loader_u = None
        if dataset.train_u:  # code without unlabelled data need not have DATALOADER.TRAIN_U
            same = loaders.TRAIN_U.SAME_AS_X
            self.train_loader_u = train_loader(dataset.train_u, loaders.TRAIN_X if same else loaders.TRAIN_U)
        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)
        self.num_classes = dataset.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def show_dataset_summary(self, cfg: Any) -> None:
        """Print the sizes of the splits."""
        rows: list[list] = [["Dataset", cfg.DATASET.NAME]]
        if cfg.DATASET.SOURCE_DOMAINS:
            rows.append(["Source", cfg.DATASET.SOURCE_DOMAINS])
        if cfg.DATASET.TARGET_DOMAINS:
            rows.append(["Target", cfg.DATASET.TARGET_DOMAINS])
        rows.append(["# classes", f"{self.num_classes:,}"])
        for split in ("train_x", "train_u", "val", "test"):
            items = getattr(self.dataset, split)
            if items:
                rows.append([f"# {split}", f"{len(items):,}"])
        print(tabulate(rows))
