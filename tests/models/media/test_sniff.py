import io

import pytest
from PIL import Image

from models.errors import BadMedia
from models.media import Limits, content_type, probe, sniff, write_image
from tests.models.media import making


@pytest.mark.parametrize(
    ("format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")]
)
def test_pictures(format, media_type):
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format)
    assert sniff(out.getvalue()) == media_type


@pytest.mark.parametrize(
    ("container", "codec", "media_type"),
    [
        ("mp4", "libx264", "video/mp4"),
        ("mov", "libx264", "video/quicktime"),
        ("webm", "libvpx", "video/webm"),
        ("matroska", "libx264", "video/x-matroska"),
    ],
)
def test_clips(container, codec, media_type):
    assert sniff(making.video(making.pictures(2), container=container, codec=codec)) == media_type


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_content_type_is_true_to_what_is_written(format):
    assert content_type(format) == sniff(write_image(making.picture(8, 8), format))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no bytes"),
        (b"hello, I am a video", "not a picture or clip"),
        (b"\0" * 100, "not a picture or clip"),
        (b"#EXTM3U\n#EXTINF:10,\nhttp://169.254.169.254/latest/meta-data\n", "HLS playlist"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "concat list"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "XML or SVG"),
        (b'  <svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<html></html>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
        (b"OggS\0\2", "Ogg"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
    ],
)
def test_strangers_are_named(data, said):
    with pytest.raises(BadMedia, match=f"^source_video.*{said}.*send MP4"):
        probe(data, "source_video", Limits())
