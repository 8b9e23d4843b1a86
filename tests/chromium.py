"""Finds a Chromium for the tests marked ``browser``; run as a program it prints the path, or exits with 1."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of ``$ESPALIER_CHROMIUM``, of an installed Chromium, or of Playwright's own; else None."""
    chosen = os.environ.get("ESPALIER_CHROMIUM")
    installed = chosen or next((path for name in _NAMES if (path := shutil.which(name))), None)
    return installed or _playwright_chromium()


def _playwright_chromium() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit(1)
    print(found)
