"""The pages name files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]
FILE = re.compile(r"`((?:[\w.+-]+/)+[\w.+-]*\.(?:py|md|yaml|json|sh|csv|pt|cff|toml)|(?:[\w-]+/)+)`")
MADE_BY_RUNS = ("output/", "split_fewshot/", "my_images/", "tensorboard/", "sweeps/locks/")
MADE_BY_READERS = ("trainers/anchored.py", "configs/trainers/AnchoredCoOp/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link}
    lost = [link for link in links if link and not (page.parent / link).exists()]
    for name in FILE.findall(prose):
        if not name.startswith(MADE_BY_RUNS + MADE_BY_READERS):
            lost += [] if any((place / name).exists() for place in (ROOT, page.parent)) else [name]
    assert not lost
