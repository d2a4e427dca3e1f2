#!/bin/sh
# Drives the page in headless Chromium against a running server.
#
#   DIBS_URL        where the server listens, as http://127.0.0.1:8080
#   DIBS_ADMIN_KEY  its admin key
#
# Arguments are names of tests, or parts of them; without any, all run. One that fails is run once more, and named when
# it passes then. Ends with "N passed, N failed", and with a status other than 0 when one failed twice. Needs Chromium
# and its driver (Debian: chromium, chromium-driver) and Python 3.
#
# More: DIBS_PAGE_PATIENCE (seconds to wait for a condition), DIBS_PAGE_PICTURES (folder for screenshots),
# DIBS_CHROMIUM, DIBS_CHROMEDRIVER (where they are).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${DIBS_URL:?where the server listens, as http://127.0.0.1:8080}"
: "${DIBS_ADMIN_KEY:?the admin key of that server}"

if python3 -c "import selenium" 2>/dev/null; then
    exec python3 "$here/test_page.py" "$@"
fi
venv="$here/../../.build/page-tests/venv"
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
exec "$venv/bin/python" "$here/test_page.py" "$@"
