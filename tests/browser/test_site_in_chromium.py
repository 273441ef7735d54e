"""The site in a real browser, served under a prefix as a bucket would: it reads at 320 pixels, keeps its style, and asks nobody else for anything.

Chromium runs as a program of its own, without a driver: a page of the test measures the pages of the site in a frame and writes what it found into
itself, and Chromium prints that page.
"""

import html
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.site import build_site
from tests.site_store import FUND, public_store

KINDS = [
    "index.html",
    f"funds/{FUND}/index.html",
    f"funds/{FUND}/compare/index.html",
    f"funds/{FUND}/projects/P1/index.html",
    f"data/{FUND}/index.html",
    f"data/{FUND}/v1.0.0/index.html",
    f"data/{FUND}/v1.0.1/index.html",
    "method/index.html",
    "revisions/index.html",
    "accessibility/index.html",
]
MEASURE = """<!DOCTYPE html><meta charset="utf-8"><title>measure</title><pre id="found"></pre><script>
const pages = %s, found = {};
async function look(page) {
  const frame = document.createElement("iframe");
  frame.width = %d; frame.height = 800; frame.style.border = 0; frame.src = "/some/prefix/" + page;
  await new Promise(done => { frame.onload = done; document.body.append(frame); });
  const inside = frame.contentDocument, root = inside.documentElement;
  inside.querySelectorAll("details").forEach(item => item.open = true);
  const isWide = item => !item.closest(".table-frame, .hidden, .skip-link") && item.getBoundingClientRect().right > root.clientWidth + 1;
  const wide = [...inside.querySelectorAll("body *")].filter(isWide);
  const link = inside.querySelector(".skip-link");
  link.focus();
  found[page] = {
    scroll: root.scrollWidth, client: root.clientWidth, wide: wide.map(item => item.tagName + "." + item.getAttribute("class")),
    header: frame.contentWindow.getComputedStyle(inside.querySelector("header")).backgroundColor,
    skip: link.getBoundingClientRect().left, heading: inside.querySelector("h1").getBoundingClientRect().height,
    flat: [...inside.querySelectorAll("svg.bar")].filter(item => item.getBoundingClientRect().height < 10).length,
  };
  frame.remove();
}
(async () => {
  for (const page of pages) await look(page);
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("Chromium was not found. The browser tests need it: install the package chromium, or put it on the PATH.")
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, list[str]]]:
    root = tmp_path_factory.mktemp("served")
    build_site(public_store(), root / "some" / "prefix")
    asked: list[str] = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(f"{self.path} {args[1] if len(args) > 1 else ''}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def run(chromium: str, profile: Path, *arguments: str) -> str:
    """Run Chromium without a screen; every host but this machine's own loopback is unknown to it."""
    options = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=60000"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses its sandbox to root
    done = subprocess.run([chromium, *options, *arguments], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measure(chromium: str, served: tuple[Path, str, list[str]], tmp_path: Path, width: int) -> dict[str, dict]:
    root, address, _ = served
    (root / "measure.html").write_text(MEASURE % (json.dumps(KINDS), width), "utf-8")
    printed = run(chromium, tmp_path / "profile", "--window-size=1400,1000", "--dump-dom", f"{address}/measure.html")
    found = re.search(r'<pre id="found">(.+?)</pre>', printed)
    assert found is not None, printed[:500]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", [320, 1280])
def test_no_kind_of_page_needs_reading_sideways(width: int, chromium: str, served: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    found = measure(chromium, served, tmp_path, width)
    assert list(found) == KINDS
    for page, sizes in found.items():
        assert sizes["wide"] == [], page
        assert sizes["scroll"] <= sizes["client"] <= width, page
        assert sizes["header"] == "rgb(11, 12, 12)", page  # the style sheet was let in by the page's own policy
        assert sizes["skip"] >= 0, page  # the skip link comes into view when it has the focus
        assert sizes["heading"] > 20, page
        assert sizes["flat"] == 0, page


def test_a_page_asks_for_its_style_and_icon_and_for_nothing_else(chromium: str, served: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    _, address, asked = served
    asked.clear()
    page = f"/some/prefix/funds/{FUND}/projects/P1/index.html"
    printed = run(chromium, tmp_path / "profile", "--dump-dom", address + page)
    assert "hidden to protect people" in printed
    assert set(asked) <= {f"{page} 200", "/some/prefix/assets/site.css 200", "/some/prefix/assets/icon.svg 200"}
    assert f"{page} 200" in asked
    assert "/some/prefix/assets/site.css 200" in asked


def test_a_page_looks_like_something(chromium: str, served: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    run(chromium, tmp_path / "profile", "--window-size=1280,1600", f"--screenshot={picture}", f"{served[1]}/some/prefix/index.html")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 30_000
