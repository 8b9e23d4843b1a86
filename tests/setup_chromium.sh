#!/usr/bin/env bash
# Finds or installs a Chromium for the tests marked `browser`: Debian's package where it may be installed, else
# Playwright's own. Never fails: where neither is possible those tests are skipped, with the reason in the summary.
set -u
python="${1:?usage: setup_chromium.sh PYTHON}"

found() {
    [ -n "${ESPALIER_CHROMIUM:-}" ] && return 0
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return 0
    done
    "$python" - <<'CODE' 2>/dev/null
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not os.path.isfile(playwright.chromium.executable_path))
CODE
}

found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's Chromium for the browser tests"
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
found && exit 0
echo "Installing Playwright's Chromium for the browser tests"
"$python" -m playwright install chromium
found || echo "No Chromium could be installed: the browser tests will be skipped"
exit 0
