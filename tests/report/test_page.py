"""The page: every number and where it comes from, nothing from elsewhere, nothing of a record run or rendered."""

import base64
import io
import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser

import pytest
from markupsafe import escape as escaped
from PIL import Image

from report.page import mistakes, twins
from report.records import read_records

ONCE = {"br", "img", "meta"}


class Page(HTMLParser):
    """Collects ids, links and tables' cells, and sees to it that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.rows, self.tags = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ONCE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture
def write(show, tmp_path):
    """write(output, ...) -> the page's text, and what was complained of."""

    def run(output, *more):
        code, out, err = show("html", output, "-o", tmp_path / "report.html", *more)
        assert code == 0 and out.startswith(f"{tmp_path}/report.html: ")
        return (tmp_path / "report.html").read_text(encoding="utf-8"), err

    return run


@pytest.fixture
def quick(monkeypatch):
    """Without figures, which have tests of their own and take long."""
    monkeypatch.setattr("report.page.document.figures_of", lambda tree, say: ([], []))


def test_every_number_and_the_runs_behind_it(rich, write, quick):
    page = Page(write(rich)[0])
    assert page.rows[:4] == [
        ["OxfordPets", "base", "new", "H", "seeds"],
        ["zero-shot CLIP", "60.0", "60.0", "60.0", "1"],
        ["CoOp", "70.5 ± 0.5", "50.5 ± 0.5", "58.8 ± 0.5", "2"],
        ["IVLP", "65.5 ± 0.5", "55.5 ± 0.5", "60.1 ± 0.5", "2"],
    ]
    assert len(page.ids) == len(set(page.ids))
    numbers = [link for link in page.links if "data-runs" in link]
    assert all(set(link["data-runs"].split()) <= set(page.ids) for link in numbers)
    assert all(link["href"][1:] in page.ids for link in page.links)
    coop = next(link for link in numbers if link["data-title"] == "CoOp, OxfordPets, H")
    assert len(coop["data-runs"].split()) == 4  # two seeds, base and new
    base = next(link for link in numbers if link["data-title"] == "CoOp, OxfordPets, base")
    assert base["title"].startswith(
        "70.50 ± 0.50 over 2 seeds: 70.00 (seed 1), 71.00 (seed 2); 95 % interval of the mean"
    )


def test_each_run_names_its_place_and_its_command(rich, write, quick):
    text = write(rich)[0]
    runs = re.findall(r'<div class="run" id="r\d+">.*?</div>', text, flags=re.DOTALL)
    assert len(runs) == 10
    second = next(run for run in runs if "base/OxfordPets/CoOp/vit/seed2" in run)
    assert "<pre>python train.py --seed 2 --trainer CoOp</pre>" in second
    assert "CoOp, base classes of OxfordPets, seed 2: 71.00 %" in second and "commit 0123456789" in second


def test_classes(rich, write, quick):
    rows = Page(write(rich)[0]).rows
    start = rows.index(["class", "zero-shot CLIP", "CoOp", "IVLP"])
    assert rows[start + 1 : start + 3] == [
        ["Persian", "50.0", "60.0 ± 0.0", "55.0 ± 0.0"],
        ["Pug <b>", "70.0", "80.0 ± 0.0", "no image"],
    ]


def test_the_page_needs_nothing_and_lets_nothing_in(rich, write):
    text, err = write(rich)
    assert err.count("\n") == 6  # Tables 2-5, base against new, and the images of the mistakes
    assert "Pug &lt;b&gt;" in text and "Pug <b>" not in text
    assert "default-src 'none'" in text
    sources = [
        found.get("src") or found.get("href") for tag, found in Page(text).tags if tag in ("img", "script", "link")
    ]
    assert all(source is None or source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|@import|url\(", text)
    assert text.count('src="data:image/png;base64,') == 7  # the figures


def test_markup_in_a_record_is_text(put, output, write, quick):
    evil = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(1)>"
    run = put("CoOp", "base", 1, 60.0, experiment=evil, command=["train.py", evil], device=evil, backbone=evil)
    other = put("CoOp", "base", 2, 60.0, classnames=[evil], per_class_accuracy=[1.0])
    record = json.loads((other / "metrics.json").read_text()) | {"trainer": evil, "dataset": evil}
    (other / "metrics.json").write_text(json.dumps(record))
    (run / "log.txt").write_text(evil)
    text = write(output)[0]
    page = Page(text)
    assert evil not in text and str(escaped(evil)) in text
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any("onerror" in found for _, found in page.tags)


def picture(path, colour, size=(300, 200)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_the_worst_mistakes_with_their_pictures(rich, write, quick, tmp_path):
    picture(tmp_path / "data/pets/c.png", "red")
    text, err = write(rich, "--data", tmp_path / "data")
    tiles = re.findall(r'<div class="tile"><img src="data:image/jpeg;base64,(.*?)" alt="(.*?)".*?</div>', text)
    # CoOp's third image, base and new, seed 1, as changed against zero-shot CLIP and as a mistake; the others are right
    told = ["pets/c.png: Persian, taken for Pug &lt;b&gt;", "pets/c.png: Sphynx, taken for Beagle"]
    assert [words for _, words in tiles] == told * 2
    with Image.open(io.BytesIO(base64.b64decode(tiles[0][0]))) as small:
        assert small.size == (116, 77) and small.getpixel((5, 5))[0] > 200
    assert "images of mistakes and" not in err and text.count("No mistake.") == 4
    assert "is Persian, 1.0 %" in text


def test_missing_pictures_are_told(rich, write, quick, tmp_path):
    text, err = write(rich, "--data", tmp_path)
    assert text.count("image not found") == 4
    told = next(line for line in err.splitlines() if "images of mistakes" in line)
    assert "1 images of mistakes and changes are not below" in told and str(tmp_path) in told and "with --data" in told


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "pets/../../secret.png", "pets/no.png\0", "link.png"])
def test_no_picture_from_outside_the_root(rich, tmp_path, path):
    picture(tmp_path / "secret.png", "red")
    (tmp_path / "data/pets").mkdir(parents=True)
    (tmp_path / "data/link.png").symlink_to(tmp_path / "secret.png")
    (record, *_) = read_records(rich)
    assert mistakes.thumbnail(record, path, tmp_path / "data") is None
    picture(tmp_path / "data/pets/there.png", "red")
    assert mistakes.thumbnail(record, "pets/there.png", tmp_path / "data")


def test_a_picture_that_is_none_is_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "b.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    assert mistakes.shrink(tmp_path / "a.png") is None and mistakes.shrink(tmp_path / "b.eps") is None


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "path,label,prediction,true_probability\nx,0,7,0.5\n", "\xff\n"])
def test_damaged_predictions_are_left_out(rich, write, quick, content):
    for file in rich.rglob("predictions.csv"):
        file.write_text(content, encoding="latin-1")
    assert 'id="mistakes"' not in write(rich)[0] or content == ""


def test_an_earlier_record_and_a_log_have_no_command(put, output, write, quick):
    put("CoOp", "base", 1, 60.0, command=None)
    run = output / "base2new/test_new/oxford_pets/shots_16/CoOp/vit/seed1"
    run.mkdir(parents=True)
    (run / "log.txt").write_text("=> result\n* accuracy: 55.0%\n")
    text = write(output)[0]
    assert "did not keep the command" in text and "Read from log.txt" in text


def test_what_changed_between_two_methods(rich, write, quick):
    text = write(rich)[0]
    assert "zero-shot CLIP → CoOp: 0 gained, 1 lost" in text and "zero-shot CLIP → IVLP: 0 gained, 0 lost" in text
    assert "70 → 1 %" in text  # the true class's probability before and after


def test_styles_of_one_thing_are_shown_once():
    paths = ["a/rat_color.png", "a/rat_flat.png", "b/rat_3d.png", "a/cat.png", "a/rat_3d.png"]
    assert twins.once(paths, str, 9) == [("a/rat_color.png", 3), ("b/rat_3d.png", 1), ("a/cat.png", 1)]
    assert twins.once(paths, str, 1) == [("a/rat_color.png", 3)]


def test_published_numbers_beside(put, output, write, quick):
    put("MaPLe", "base", 1, 95.0)
    assert "<small>publ. 95.43 (-0.4)</small>" in write(output, "--published")[0]
    assert "publ." not in write(output)[0]


PRESS = """<script>addEventListener("load", () => {
  document.querySelectorAll("th button")[1].click();
  document.querySelector("a[data-runs]").click();
  const out = document.createElement("output");
  const names = [...document.querySelectorAll("tbody")][0].rows;
  out.textContent = [...names].map((row) => row.cells[0].textContent).join("|") + "|" +
    document.querySelector("dialog").open + "|" + document.querySelector("dialog pre").textContent + "|" +
    document.documentElement.scrollWidth;
  document.body.append(out);
});</script>"""


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(rich, write, quick, tmp_path, width):
    """Sorts, shows runs, and is not wider than the window, on a phone and on a laptop."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium; Debian's package chromium has one")
    text = write(rich)[0].replace("</body>", PRESS + "</body>")
    frame = f'<iframe srcdoc="{escape(text)}" style="width:{width}px;height:800px;border:0"></iframe>'
    read = "document.title = frames[0].document.querySelector('output').textContent"
    (tmp_path / "frame.html").write_text(f"<!doctype html>{frame}<script>onload = () => {{ {read} }}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=3000"]
    options += ["--hide-scrollbars"]
    command = [chromium, *options, f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{tmp_path}/frame.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    assert title[1] == f"CoOp|IVLP|zero-shot CLIP|true|python train.py --seed 1 --trainer CoOp|{width}"
