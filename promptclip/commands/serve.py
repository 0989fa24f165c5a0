"""A page in the browser to try a trained classifier on."""

import argparse
import signal
import socket
import threading
from importlib.util import find_spec

from promptclip.common.class_list import class_list

HELP = "open a page to try a trained classifier on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, class names, and where the page is."""
    parser.add_argument("model", metavar="MODEL", help="run directory, classifier folder, or user/name on the hub")
    parser.add_argument("--classes", help="class names a,b,c, or @FILE with one a line, in place of those trained on")
    parser.add_argument("--port", type=int, default=7860, help="of this machine, 127.0.0.1 (default: 7860; 0: any)")
    parser.add_argument("--open", action="store_true", help="open the browser, too")
    parser.add_argument("--backbone", help="name or file of the CLIP, in place of the one that the model names")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    if find_spec("gradio") is None:
        raise ImportError("The page needs Gradio: pip install 'restore-prompts[serve]'.")
    check_port(args.port)
    from promptclip.loading import load  # only now: torch takes seconds
    from promptclip.page import serve

    classes = None if args.classes is None else class_list(args.classes)
    model = load(args.model, backbone=args.backbone, classes=classes, device=args.device)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with serve(model, args.port, args.open) as address:
        print(f"{address} shows the page, on this machine alone; Ctrl-C ends it.", flush=True)
        ended.wait()
    return 0


def check_port(port: int) -> None:
    """Raise ValueError if the page cannot be at this port of this machine."""
    if not 0 <= port < 65536:
        raise ValueError(f"--port is {port}; a port is a number from 0 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"Port {port} cannot be had ({error.strerror}): choose another with --port.") from None
