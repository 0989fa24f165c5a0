"""`fetch`, from a server on this machine: what it lays out, and that nothing half-made is left when something fails."""

import hashlib
import io
import json
import os
import random
import tarfile
import zipfile

import pytest
import torchvision.datasets as tv
from archives import tar_of, zip_of

from datasets.published_folders import Caltech101, DescribableTextures, EuroSAT, Food101
from datasets.published_lists import SUN397, FGVCAircraft, OxfordFlowers, OxfordPets

NOISE = random.Random(0).randbytes(20000)  # does not compress, so that an archive of it is long enough to be cut


def tree(root):
    """All files below `root`, but what `fetch` keeps to resume with."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".fetch" not in path.parts
    )


def work(root):
    """Names in the folder of unfinished things."""
    return sorted(os.listdir(root / "toys/.fetch")) if (root / "toys/.fetch").exists() else []


def test_an_archive_is_laid_out(prepare, toys, server, pictures, tmp_path):
    code, said, _ = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 0
    assert tree(tmp_path) == sorted(pictures)
    assert f"by hand (optional): {tmp_path}/toys/split_zhou_Toys.json\n    from http://toys/split" in said
    assert "a split is made by the same rule" in said and "Next: python -m datasets.prepare check Toys" in said
    assert work(tmp_path) == []
    prepare("fetch", "Toys", "--root", tmp_path)
    assert len(server.seen) == 1  # what is there is not fetched again
    code, said, _ = prepare("check", "Toys", "--root", tmp_path)
    assert code == 0, said


def test_images_that_were_lost_are_fetched_again(prepare, toys, server, pictures, tmp_path):
    prepare("fetch", "Toys", "--root", tmp_path)
    split = {part: [] for part in ("train", "val", "test")}
    for number, name in enumerate(sorted(pictures)):
        row = [name[len("toys/images/") :], int("doll" in name), "doll" if "doll" in name else "ball"]
        split["train" if number % 2 else "test"].append(row)
    (tmp_path / "toys/split_zhou_Toys.json").write_text(json.dumps(split))
    (tmp_path / "toys/images/doll/doll_3.jpg").unlink()
    code, said, _ = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 0 and "by hand" not in said and len(server.seen) == 2
    assert (tmp_path / "toys/images/doll/doll_3.jpg").is_file()


def test_what_no_download_can_repair_is_told(prepare, toys, server, tmp_path):
    prepare("fetch", "Toys", "--root", tmp_path)
    (tmp_path / "toys/split_zhou_Toys.json").write_text("{")
    code, said, _ = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and len(server.seen) == 1
    assert "Toys cannot be used yet: The split file" in said and "is not valid JSON" in said


@pytest.mark.parametrize("kind", ["zip", "tar", "inner"])
def test_other_archives(prepare, toys, pictures, tmp_path, kind):
    if kind == "zip":
        toys(zip_of(pictures), "toys.zip")
    elif kind == "tar":
        toys(tar_of(pictures, "w"), "toys.tar")
    else:
        inside = tar_of({name[len("toys/") :]: data for name, data in pictures.items()})
        toys(zip_of({"x/inner.tar.gz": inside, "x/more.txt": b""}), "toys.zip", strip="", inner="x/inner.tar.gz")
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert (code, tree(tmp_path)) == (0, sorted(pictures)), errors


def test_an_interrupted_download_resumes_where_it_was(prepare, toys, server, pictures, tmp_path):
    toys(tar_of(pictures | {"toys/noise": NOISE}))
    server.cut = 3  # as many as are tried
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1
    assert "was interrupted" in errors and "3,000 bytes are kept, and the same command resumes from there" in errors
    assert tree(tmp_path) == [] and set(work(tmp_path)) == {"toys.tar.gz.part", "toys.tar.gz.part.of"}
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 0, errors
    assert [wanted for _, wanted in server.seen] == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]
    assert work(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "", "9" * 30])
def test_a_length_that_is_none(prepare, toys, server, tmp_path, length):
    server.lies = {"Content-Length": length}
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and f"was interrupted (the server says that {length!r} bytes will come)" in errors
    assert tree(tmp_path) == []
    server.lies = {}
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 0


def test_a_rest_that_is_another(prepare, toys, server, pictures, tmp_path):
    toys(tar_of(pictures | {"toys/noise": NOISE}))
    server.cut = 3
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 1
    server.lies = {"Content-Range": "bytes 7-9/10"}
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "sends 'bytes 7-9/10' where the rest from byte 3000 on was asked for" in errors
    server.lies = {}
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 0


def test_a_note_on_a_part_that_is_damaged(prepare, toys, server, pictures, tmp_path):
    """It only says whether the server's file is still the same; without it, the download begins anew."""
    toys(tar_of(pictures | {"toys/noise": NOISE}))
    server.cut = 3
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 1
    (tmp_path / "toys/.fetch/toys.tar.gz.part.of").write_bytes(b"\xff\n\0")
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 0
    assert server.seen[-1] == ("/toys.tar.gz", None)


def zip_of_zeros():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toys/a", bytes(2**26))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("toys.zip", zip_of_zeros),
        ("toys.tar.gz", lambda: tar_of({"toys/a": bytes(2**26)})),
        ("toys.tar.gz", lambda: tar_of({f"toys/{n}": b"" for n in range(20_000)})),
    ],
)
def test_an_archive_that_unfolds(prepare, toys, tmp_path, name, make):
    """Sixty megabytes of zeros from some ten thousand bytes, or twenty thousand empty files."""
    toys(make(), name)
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "unfolds to more than 100 times its size" in errors
    assert tree(tmp_path) == [] and work(tmp_path) == []


def test_a_file_that_changed_meanwhile_is_begun_anew(prepare, toys, server, pictures, tmp_path):
    toys(tar_of(pictures | {"toys/noise": NOISE}))
    server.cut = 3
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 1
    toys(tar_of(pictures | {"toys/noise": NOISE[::-1]}))
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 0, errors
    assert (tmp_path / "toys/noise").read_bytes() == NOISE[::-1]


def test_a_complete_part_is_fetched_again(prepare, toys, server, tmp_path):
    """Killed between the last byte and the renaming: the server has nothing beyond it."""
    data = server.files["toys.tar.gz"]
    part = tmp_path / "toys/.fetch/toys.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    part.with_name(f"{part.name}.of").write_text(f'"{hashlib.md5(data).hexdigest()}"')
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 0


def test_a_wrong_checksum(prepare, toys, server, tmp_path):
    toys(server.files["toys.tar.gz"], md5="0" * 32)
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1
    assert f"where {'0' * 32} is published; it was deleted. Try again" in errors
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["toys/../../evil", "/evil", "..\\evil", "toys/images/../../../evil"])
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_an_archive_that_leads_out(prepare, toys, pictures, tmp_path, make, name):
    toys(make(pictures | {name: b"evil"}), "toys.zip" if make is zip_of else "toys.tar.gz")
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path / "root")
    assert code == 1 and "which leads out of the folder; nothing of it was unpacked" in errors
    assert tree(tmp_path) == [] and work(tmp_path / "root") == []


def test_links_in_an_archive_are_left_out(prepare, toys, pictures, tmp_path):
    path = tmp_path / "with_link.tar"
    path.write_bytes(tar_of(pictures, "w"))
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("toys/images/ball/link.jpg")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    toys(path.read_bytes(), "toys.tar")
    assert prepare("fetch", "Toys", "--root", tmp_path / "root")[0] == 0
    assert tree(tmp_path / "root") == sorted(pictures)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_damaged_archive(prepare, toys, pictures, tmp_path, make):
    data = make(pictures | {"toys/noise": NOISE})
    toys(data[: len(data) // 2], "toys.zip" if make is zip_of else "toys.tar.gz")
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "is damaged" in errors and "nothing was unpacked" in errors
    assert tree(tmp_path) == [] and work(tmp_path) == []


@pytest.mark.parametrize("length", range(1, 12))
def test_an_archive_of_a_few_bytes(prepare, toys, pictures, tmp_path, length):
    """The reader of gzip's header takes each of its bytes for there: three of them were a TypeError."""
    toys(tar_of(pictures)[:length], "toys.tar.gz")
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "toys.tar.gz is damaged" in errors and tree(tmp_path) == []


def test_a_zip_that_lacks_its_beginning(prepare, toys, pictures, tmp_path):
    """Its parts lie before the file's first byte, where no file can be read."""
    toys(zip_of(pictures | {"toys/noise": NOISE})[1000:], "toys.zip")
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "toys.zip is damaged" in errors and tree(tmp_path) == []


def test_an_archive_of_something_else(prepare, toys, tmp_path):
    toys(tar_of({"games/chess": b""}))
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "holds no file in toys" in errors
    assert tree(tmp_path) == []


@pytest.mark.parametrize("where", ["before", "downloading", "unpacking"])
def test_a_full_disk(prepare, toys, tmp_path, monkeypatch, where):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    target, value = {
        "before": ("datasets.prepare.download.MARGIN", 1 << 60),
        "downloading": ("datasets.prepare.download.tqdm.update", full),
        "unpacking": ("datasets.prepare.unpack.copy", full),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, value)
        code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and f"The disk of {tmp_path}/toys" in errors and "is full" in errors
    assert tree(tmp_path) == []
    assert work(tmp_path) == (["toys.tar.gz"] if where == "unpacking" else [])  # what is whole and verified may stay
    assert prepare("fetch", "Toys", "--root", tmp_path)[0] == 0
    assert work(tmp_path) == []


def test_a_file_that_is_gone(prepare, toys, server, tmp_path):
    server.files.clear()
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "was answered with 404" in errors
    assert tree(tmp_path) == []


def test_a_server_that_does_not_answer(prepare, toys, server, tmp_path):
    server.shutdown()
    server.server_close()
    code, _, errors = prepare("fetch", "Toys", "--root", tmp_path)
    assert code == 1 and "The download of http://127.0.0.1" in errors and "was interrupted" in errors


def test_one_failure_does_not_keep_others_from_being_fetched(prepare, toys, server, tmp_path):
    (tmp_path / "stanford_cars").mkdir()
    code, said, _ = prepare("fetch", "StanfordCars", "Toys", "--root", tmp_path)
    assert code == 1
    assert f"by hand (needed): {tmp_path}/stanford_cars/cars_train" in said and "StanfordCars is not complete" in said
    assert (tmp_path / "toys/images").is_dir()


def test_fetch_asks_for_a_root(prepare, monkeypatch):
    code, _, errors = prepare("fetch", "dtd", "--root", "")
    assert code == 2 and "fetch needs the directory to put data sets in" in errors


def test_checksums_are_torchvisions():
    """Where torchvision states address and checksum as data, ours are the same."""
    ours = {cls: {(archive.url, archive.md5) for archive in cls.facts.archives} for cls in ALL}
    assert ours[OxfordPets] == set(tv.OxfordIIITPet._RESOURCES)
    assert ours[DescribableTextures] == {(tv.DTD._URL, tv.DTD._MD5)}
    assert ours[Food101] == {(tv.Food101._URL, tv.Food101._MD5)}
    assert (tv.SUN397._DATASET_URL, tv.SUN397._DATASET_MD5) in ours[SUN397]
    assert ours[FGVCAircraft] == {(tv.FGVCAircraft._URL, "")}
    flowers = {(tv.Flowers102._download_url_prefix + name, md5) for name, md5 in tv.Flowers102._file_dict.values()}
    assert ours[OxfordFlowers] < flowers
    for cls, theirs in ((Caltech101, tv.Caltech101), (EuroSAT, tv.EuroSAT)):
        constants = theirs.download.__code__.co_consts
        for url, md5 in ours[cls]:
            assert md5 in constants or url not in constants  # older releases had other addresses


ALL = [Caltech101, DescribableTextures, EuroSAT, FGVCAircraft, Food101, OxfordFlowers, OxfordPets, SUN397]
