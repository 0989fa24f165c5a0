"""A web server on this machine, and a data set whose files it has."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from archives import tar_of
from dassl.data.datasets import DATASET_REGISTRY
from trees import class_folders

from datasets.base import Archive, ByHand, Facts, SplitDataset
from datasets.prepare.__main__ import main
from datasets.splits import split_by_folder


class Server(ThreadingHTTPServer):
    """Serves `files`, {path: bytes}; interrupts the next `cut` answers after 1000 bytes; notes requests in `seen`.

    `lies` are headers that replace the right ones.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.seen, self.marks, self.lies = {}, 0, [], True, {}

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        data = self.server.files.get(self.path[1:])
        if data is None:
            self.send_error(404)
            return
        mark = f'"{hashlib.md5(data).hexdigest()}"'
        start = int(wanted[6:-1]) if wanted and self.headers.get("If-Range") == mark else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if self.server.marks:
            self.send_header("ETag", mark)
        headers = {"Content-Length": len(data) - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        for name, value in (headers | self.server.lies).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.server.cut:
            self.server.cut -= 1
            self.wfile.write(data[start : start + 1000])
            self.close_connection = True
        else:
            self.wfile.write(data[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pictures(tmp_path_factory):
    """{name in an archive: content} of 2 classes of 8 images, below toys/images."""
    folder = tmp_path_factory.mktemp("pictures")
    class_folders(folder, ["ball", "doll"])
    return {f"toys/images/{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.glob("*/*.jpg"))}


@pytest.fixture
def toys(server, pictures, monkeypatch):
    """A registered data set whose archive the server has; toys(data) makes it another one, the checksum right."""

    class Toys(SplitDataset):
        dataset_dir = "toys"
        split_file = "split_zhou_Toys.json"
        layout = ("images/<class>/*.jpg",)

        def make_parts(self):
            self.require("images")
            return split_by_folder(self.images)

    def put(data, name="toys.tar.gz", md5=None, strip="toys", inner=""):
        server.files[name] = data
        digest = hashlib.md5(data).hexdigest() if md5 is None else md5
        Toys.facts = Facts(
            *(2, 8, 4, 4),
            licence="MIT",
            homepage="http://toys",
            archives=(Archive(server.url(name), digest, strip, inner),),
            by_hand=(ByHand("split_zhou_Toys.json", "http://toys/split", optional=True),),
        )
        return Toys

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Toys", Toys)
    put(tar_of(pictures))
    return put


@pytest.fixture
def prepare(capsys):
    """prepare("check", "dtd", ...) -> (exit code, what was printed, errors)."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
