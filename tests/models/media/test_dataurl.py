import base64

import pytest

from models.errors import BadMedia, TooLarge
from models.media import Limits, as_data_url, data_url

LIMITS = Limits(max_bytes=1000)
BYTES = bytes(range(256))
TEXT = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "data:image/png;base64," + TEXT,
        "DATA:;BASE64," + TEXT,
        "data:video/mp4;codecs=avc1;base64," + TEXT,
        "  data:image/png;base64,\n" + base64.encodebytes(BYTES).decode(),
        "\r\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76)) + "\n",
    ],
)
def test_reads_data_urls_and_bare_base64(text):
    assert data_url(text, "source_image", LIMITS) == BYTES


def test_what_is_written_is_read_again():
    text = as_data_url(BYTES, "image/png")
    assert text.startswith("data:image/png;base64,")
    assert data_url(text, "source_image", LIMITS) == BYTES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("data:image/png;base64,", "is empty"),
        ("https://example.com/a.png", "is a link"),
        ("file:///etc/passwd", "is a link"),
        (" s3://bucket/a.png", "is a link"),
        ("data:image/png," + TEXT, "without ';base64'"),
        ("data:image/png;base64", "malformed data URL"),
        (TEXT[:-2], "not valid base64"),
        ("not base64 at all!", "not valid base64"),
        ("QU=I", "not valid base64"),
        ("é" * 8, "not valid base64"),
        (TEXT.replace("+", "-").replace("/", "_"), "not valid base64"),
    ],
)
def test_says_what_is_wrong(text, said):
    with pytest.raises(BadMedia, match=f"^source_image.*{said}.*send|^source_image.*{said}.*(must|encode)"):
        data_url(text, "source_image", LIMITS)


def test_too_long_is_refused_before_it_is_decoded():
    assert len(data_url("A" * 1332, "source_image", LIMITS)) == 999
    assert len(data_url("A" * 1332 + "AA==", "source_image", LIMITS)) == 1000
    with pytest.raises(TooLarge, match=r"^source_image is 1002 bytes; at most 1000 "):
        data_url("A" * 1336, "source_image", LIMITS)
    with pytest.raises(TooLarge):
        data_url("!" * 2000, "source_image", LIMITS)


def test_whitespace_does_not_count_against_the_limit():
    assert len(data_url("AAAA\n" * 333 + " " * 5000, "source_image", LIMITS)) == 999
