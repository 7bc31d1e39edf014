"""Open pages in Chromium, and check what every page promises."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
PHONE, DESKTOP = (390, 844), (1280, 900)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Start Chromium, and close it at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    url: str,
    size: tuple[int, int] = DESKTOP,
    scheme: str = "light",
    answers: Mapping[str, str] | None = None,
    ignored: tuple[str, ...] = (),
    browser: "Browser | None" = None,
) -> Iterator["Page"]:
    """Open a page; at the end check that no error was logged and no other server was asked.

    Args:
        url: of the page.
        size: of the window, in pixels.
        scheme: of colours, light or dark.
        answers: pattern of URLs → body of the answer that they get without being asked for.
        ignored: beginnings of errors in the console that are not ours.
        browser: where to open it; None starts another one.
    """
    faults: list[str] = []
    answered: set[str] = set()
    server = urlsplit(url)._replace(path="/", query="", fragment="").geturl()

    def note(asked: str) -> None:
        if not asked.startswith((server, "data:", "blob:")) and asked not in answered:
            faults.append(asked)

    with nullcontext(browser) if browser else chromium() as used:
        page = used.new_page(
            viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme
        )
        page.set_default_timeout(60_000)
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
            page.close()
    assert not faults, faults


def serious_barriers(page: "Page", omitted: str = "") -> list[tuple[str, list[str]]]:
    """Return the rules of axe-core that a page seriously violates, with elements.

    Args:
        page: the page, as it is shown.
        omitted: selector of elements to leave out.
    """
    import axe_core_python.sync_playwright as axe

    if not page.evaluate("'axe' in window"):
        page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text("utf-8"))
    # Elements that break no rule are not asked for: their selectors take most of the time.
    run = "omitted => axe.run({exclude: omitted}, {resultTypes: ['violations']})"
    return [
        (found["id"], [node["html"][:200] for node in found["nodes"][:3]])
        for found in page.evaluate(run, [[omitted]] if omitted else [])["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder by HTTP; yield the URL."""

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
