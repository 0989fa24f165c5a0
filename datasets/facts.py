"""What is known of a data set beyond its form: how large it is, under which licence, and where its files come from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file with a public address that is unpacked into the data set's folder, or put there if it is no archive."""

    url: str
    md5: str = ""  # as the publisher or torchvision states it; "" where nobody does
    strip: str = ""  # folder in the archive whose content is wanted; "" for all of it
    inner: str = ""  # an archive in the archive that is unpacked in its stead

    @property
    def name(self) -> str:
        """File name of the download."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class ByHand:
    """A file or folder that has to be put in place by hand, and where it is found."""

    path: str  # below the data set's folder
    source: str
    optional: bool = False  # the data set works without it, but differs from what others use


def drive(identifier: str) -> str:
    """Address of a file that CoOp's authors publish."""
    return f"https://drive.google.com/file/d/{identifier}/view"


def published_split(path: str, identifier: str) -> ByHand:
    """CoOp's split file; without it a split is made by the same rule, but it is another one."""
    return ByHand(path, drive(identifier), optional=True)


CLASSNAMES = ByHand("classnames.txt", drive("1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF"))
MIRROR = "https://huggingface.co/datasets/zhengli97/prompt_learning_dataset"  # of everything but ImageNet


@dataclass(frozen=True)
class Facts:
    """Sizes as published (0: has no such list), licence in short, home page, and the files to fetch."""

    classes: int
    train: int
    val: int
    test: int
    licence: str
    homepage: str
    archives: tuple[Archive, ...] = ()
    by_hand: tuple[ByHand, ...] = ()
