"""The page in a browser: headless Chromium finds every figure loaded and reports no error."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefit.cli import group

EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

COUNT = """
<script>
window.addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter(image => image.complete && image.naturalWidth > 0);
  document.title = `loaded ${loaded.length} of ${images.length}`;
});
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium (Debian: apt-get install chromium)")
def test_browser_loads_every_figure_without_an_error(tmp_path):
    out = tmp_path / "report"
    tables = [str(EXAMPLES / name) for name in ("simulated_sparsity.csv", "cbs_pretraining.csv")]
    result = CliRunner().invoke(group, ["report", *tables, "-o", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    page = (out / "index.html").read_text(encoding="utf-8")
    # The copy differs from the page in a script that counts what was loaded.
    (out / "counted.html").write_text(page.replace("</body>", f"{COUNT}</body>"), encoding="utf-8")
    environment = {**os.environ, "HOME": str(tmp_path)}
    seen = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",  # tests run as root in containers, where Chromium has no sandbox
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            (out / "counted.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
        env=environment,
    )
    found = re.search(r"<title>loaded (\d+) of (\d+)</title>", seen.stdout)
    assert found, seen.stderr[-2000:]
    assert found[1] == found[2] == str(page.count("<img "))
    assert "CONSOLE" not in seen.stderr, [line for line in seen.stderr.splitlines() if "CONSOLE" in line]
