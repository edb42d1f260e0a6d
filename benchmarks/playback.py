"""Plays a clip in a real browser, to its end, and says what the browser saw.

pip install playwright && apt-get install chromium
python -m benchmarks.playback out.mp4 --browser /usr/bin/chromium
"""

import argparse
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

PAGE: Final = """<video id="clip" muted autoplay src="{url}"></video><pre id="said"></pre><script>
clip.onerror = () => said.textContent = "error: " + clip.error.message;
clip.onended = () => said.textContent =
    `played to ${{clip.currentTime}} of ${{clip.duration}} s, ${{clip.videoWidth}}x${{clip.videoHeight}}, ` +
    `${{clip.getVideoPlaybackQuality().totalVideoFrames}} frames`;
</script>"""


def play(clip: Path, browser: str) -> str:
    """What the browser says when the clip has ended. Raises TimeoutError of Playwright after 60 s."""
    page_file = clip.with_suffix(".html")
    page_file.write_text(PAGE.format(url=clip.name))
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=browser, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
            )
            page = chromium.new_page()
            page.goto(page_file.absolute().as_uri())
            page.wait_for_function("said.textContent", timeout=60_000)
            return page.inner_text("#said")
    finally:
        page_file.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    print(play(options.clip, options.browser))


if __name__ == "__main__":
    main()
