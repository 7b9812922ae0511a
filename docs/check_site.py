"""Checks the pages that ``make docs`` has built: every link inside the site leads somewhere, and no page loads anything
from the network.

``python docs/check_site.py build/docs`` lists what is wrong and ends with status 1 if there is anything.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("object", "data")}
"""Elements that a browser fetches by itself, with the attribute that names the file."""


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif (tag, name) in LOADS:
                self.loads.append(value)


def faults(site: Path) -> list[str]:
    """What is wrong with the site in the folder ``site``, a sentence each."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    found.append(f"{name} loads {target} from the network")
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                found.append(f"{name} links to {target}, which does not exist")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
                found.append(f"{name} links to {target}, which has no such anchor")
    for style in sorted(site.rglob("*.css")):
        for target in re.findall(r"""(?:@import\s+|url\()\s*["']?([^"')\s]+)""", style.read_text()):
            if urlsplit(target).netloc:
                found.append(f"{style.relative_to(site)} loads {target} from the network")
    return found


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]).resolve())
    print("\n".join(wrong) or f"links of {sys.argv[1]}: all lead somewhere, nothing is loaded from the network")
    sys.exit(bool(wrong))
