"""The page in a browser: pictures, bars, other classes, a broken file; nothing leaves this machine or stays on it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser
from PIL import Image

from promptclip.cli import main
from promptclip.commands import serve

REPOSITORY = Path(serve.__file__).parents[2]
ANSWERS = "document.querySelectorAll('#answer .answer').length"
FILES = "#pictures input[type=file]"
pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's address; the command in an empty folder, which is still empty when Ctrl-C has ended it."""
    folder = tmp_path_factory.mktemp("serve")
    for name in ("here", "temporary"):
        (folder / name).mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder / "temporary")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "promptclip",
            "serve",
            str(REPOSITORY / "demo/classifier"),
            "--port",
            "0",
        ],
        **{"cwd": folder / "here", "env": environment, "text": True},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:") and "Ctrl-C ends it" in line, process.stderr.read()
        yield line.split()[0]
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and said == ("", "")
    assert not list((folder / "here").iterdir()) and not list((folder / "temporary").glob("promptclip-*"))


@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_other_classes_and_a_broken_file(page, width, tmp_path):
    Image.new("RGB", (60, 40), "red").save(tmp_path / "red.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(21 << 20))
    with Browser(tmp_path / "profile") as browser:
        browser.open(page, width)
        browser.wait(f"!!document.querySelector('{FILES}')")
        assert "No picture yet" in browser.text()
        browser.upload(FILES, [tmp_path / "red.png"])
        browser.wait(f"{ANSWERS} == 1")
        assert len(browser.value("[...document.querySelectorAll('#answer .bar')].map(e => e.style.width)")) == 5
        assert "red.png" in browser.value("document.querySelector('#answer').innerText")

        browser.type_into("#classes textarea", "lynx\nfire engine")
        browser.value("document.querySelector('#go').click()")
        browser.wait("document.querySelector('#answer').innerText", wanted=lambda text: "fire engine" in text)
        assert browser.value("document.querySelectorAll('#answer .bar').length") == 2
        browser.type_into("#classes textarea", "lynx\nlynx")
        browser.value("document.querySelector('#go').click()")
        browser.wait("document.querySelector('#answer').innerText", wanted=lambda text: "stands there 2 times" in text)
        browser.type_into("#classes textarea", "lynx\ncat")

        browser.open(page, width)
        browser.wait(f"!!document.querySelector('{FILES}')")
        browser.upload(FILES, [tmp_path / "red.png", tmp_path / "broken.png"])
        browser.wait("document.querySelector('#answer').innerText", wanted=lambda text: "broken.png" in text)
        assert browser.value(ANSWERS) == 1  # the other one
        assert browser.value("document.documentElement.scrollWidth") <= width

        browser.open(page, width)
        browser.wait(f"!!document.querySelector('{FILES}')")
        browser.upload(FILES, [tmp_path / "large.png"])
        browser.wait("document.body.innerText", wanted=lambda text: "exceed" in text.lower())
        away = [one for one in browser.requests if not one.startswith((page, "data:", "blob:", "about:"))]
        assert not away and len(browser.requests) > 5


def test_what_stands_in_the_way_is_one_sentence(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "anything", "--port", str(port)]) == 2
    assert f"Port {port} cannot be had" in capsys.readouterr().err
    assert main(["serve", "anything", "--port", "70000"]) == 2
    assert "from 0 to 65535" in capsys.readouterr().err
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert main(["serve", "anything"]) == 2
    assert "pip install 'restore-prompts[serve]'" in capsys.readouterr().err
