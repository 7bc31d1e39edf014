"""Pages of real runs in Chromium."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
PHONE, DESKTOP = (390, 844), (1280, 900)


@contextmanager
def opened(
    url: str,
    size: tuple[int, int] = DESKTOP,
    answers: Mapping[str, str] | None = None,
    ignored: str = "nothing",
) -> Iterator["Page"]:
    """A page, which must leave no error in the console and ask no other server.

    Args:
        url: of the page.
        size: of the window, in pixels.
        answers: pattern of URLs → body of the answer that they get without being asked for.
        ignored: beginning of errors in the console that are not ours.
    """
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    server = "file:" if url.startswith("file:") else url.partition("/?")[0].partition("/#")[0]

    def note(asked: str) -> None:
        if not asked.startswith((server, "data:", "blob:")) and asked not in answered:
            faults.append(asked)

    answered: set[str] = set()
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
        page.set_default_timeout(30_000)
        for pattern, body in (answers or {}).items():

            def answer(route, *, body=body):
                answered.add(route.request.url)
                route.fulfill(status=200, body=body)

            page.route(pattern, answer)
        page.on(
            "console",
            lambda message: (
                faults.append(f"{message.text} {message.location}")
                if message.type == "error" and not message.text.startswith(ignored)
                else None
            ),
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfinished", lambda request: note(request.url))
        page.on("requestfailed", lambda request: note(request.url))
        page.goto(url)
        try:
            yield page
        finally:
            browser.close()
    assert not faults, faults


def serious_barriers(page: "Page") -> list[tuple[str, list[str]]]:
    """What axe-core finds that keeps people from using a page: rules, with elements."""
    import axe_core_python.sync_playwright as axe

    page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text("utf-8"))
    return [
        (found["id"], [node["html"][:200] for node in found["nodes"][:3]])
        for found in page.evaluate("axe.run()")["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder by HTTP; yields the URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
