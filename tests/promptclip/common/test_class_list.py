"""Class names from the command line."""

import pytest

from promptclip.common.class_list import LARGEST, class_list


def test_names_and_files(tmp_path):
    assert class_list("cat, sugar cane ,c") == ["cat", "sugar cane", "c"]
    (tmp_path / "names.txt").write_text("cat\n\n mus musculus, the mouse \n", encoding="utf-8")
    assert class_list(f"@{tmp_path}/names.txt") == ["cat", "mus musculus, the mouse"]


def test_what_is_no_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*none.txt of class names"):
        class_list(f"@{tmp_path}/none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        class_list(f"@{tmp_path}/binary")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ValueError, match="more than 20,000,000 bytes"):
        class_list(f"@{tmp_path}/large")
