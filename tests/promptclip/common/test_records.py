"""Files that runs leave about themselves, damaged so that reading them would take the machine."""

import pytest

from promptclip.common.files import LARGEST_RECORD, read_record_file


@pytest.mark.parametrize("text", ["[" + "[]," * (LARGEST_RECORD // 3) + "[]]", "[" * 100_000])
def test_a_record_of_brackets(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=r"metrics.json is (larger than 10,000,000 bytes|nested too deep)"):
        read_record_file(tmp_path / "metrics.json")
