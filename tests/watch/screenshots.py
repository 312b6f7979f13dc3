"""Pictures of the page for the documents: `python -m tests.watch.screenshots FOLDER`, while `make run` runs.

Law: they show a real system. Each is some 100 kB: 256 colours are all that the page has.
"""

import argparse
import io
import sys
import time
from pathlib import Path

from PIL import Image

from tests.watch.chromium import BrowserError, Chromium, Page, chromium

VIEWS = ("desk", "bandit", "operate", "compare")
SIZES = ((1280, 800, 1500), (390, 844, 1900))  # width, height of the window, and most of the picture
SCHEMES = ("light", "dark")
COLOURS = 256
MOST_BYTES = 150_000
DRAWN = {
    "desk": "document.querySelectorAll('.desk .open').length > 2",
    "bandit": "document.querySelectorAll('.chart canvas').length === 4 && document.querySelector('.rewards .why')",
    "operate": "document.querySelector('.figures') && document.querySelector('td .name')",
    "compare": "document.querySelector('.facts-table tbody tr')",
}
OPENED = "[...document.querySelectorAll('.desk .open')]"
EARNS = f"({OPENED}.find(one => one.closest('tr').querySelector('.earned.above')) ?? {OPENED}[0]).click()"


def main() -> None:
    """Exits with a line where no page answers, or where a picture is too large."""
    parser = argparse.ArgumentParser(prog="python -m tests.watch.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8080/", help="of the page, as make run prints it")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        with chromium() as browser:
            for view in VIEWS:
                for width, height, most in SIZES:
                    for scheme in SCHEMES:
                        picture = smaller(taken(browser, arguments.address, view, width, height, most, scheme))
                        path = arguments.folder / f"{view}-{width}-{scheme}.png"
                        path.write_bytes(picture)
                        print(f"{path}  {len(picture) / 1000:.0f} kB")  # noqa: T201 - a command prints
                        if len(picture) > MOST_BYTES:
                            sys.exit(f"{path} has more than {MOST_BYTES / 1000:.0f} kB")
    except BrowserError as error:
        sys.exit(str(error))


def taken(browser: Chromium, address: str, view: str, width: int, height: int, most: int, scheme: str) -> bytes:
    """A view as it stands a moment after it was opened, down to `most` pixels."""
    page = Page(browser, width=width, height=height, scheme=scheme)
    page.open(f"{address}#/desk")
    page.until(DRAWN["desk"], 30)
    if view == "bandit":
        page.evaluate(EARNS)
    elif view != "desk":
        page.evaluate(f"location.hash = '#/{view}'")
    page.until(DRAWN[view], 30)
    time.sleep(1)
    page.resize(width, min(most, page.evaluate("document.documentElement.scrollHeight")))
    time.sleep(1)
    picture = page.screenshot()
    page.close()
    return picture


def smaller(picture: bytes) -> bytes:
    """The same with a palette."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    written = io.BytesIO()
    image.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
