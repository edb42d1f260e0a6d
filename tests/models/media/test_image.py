import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from models.errors import BadMedia, TooLarge
from models.media import Limits, probe, read_image, write_image
from tests.models.media import making
from tests.models.media.making import distance

LIMITS = Limits(max_bytes=10_000_000, max_pixels=1_000_000)
PIXELS = making.picture(96, 64)


def encoded(picture, format, **options):
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("format", "options", "error"),
    [
        ("PNG", {}, 0),
        ("JPEG", {"quality": 95}, 3),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 3),
        ("GIF", {}, 0),
        ("AVIF", {}, 3),
    ],
)
def test_reads_what_people_send(format, options, error):
    pixels = read_image(encoded(Image.fromarray(PIXELS), format, **options), "image", LIMITS)
    assert pixels.shape == (64, 96, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert distance(pixels, PIXELS) <= error


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation_is_applied(tag):
    lying = Image.fromarray(PIXELS)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that undoes each tag
    if tag in back:
        lying = lying.transpose(Image.Transpose(back[tag]))
    exif = Image.Exif()
    exif[0x0112] = tag
    data = encoded(lying, "PNG", exif=exif)
    assert np.array_equal(read_image(data, "image", LIMITS), PIXELS)
    info = probe(data, "image", LIMITS)
    assert (info.width, info.height) == (96, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_stop_a_good_picture():
    data = encoded(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff" + b"\xff" * 40)
    assert read_image(data, "image", LIMITS).shape == PIXELS.shape


def test_transparency_is_laid_on_white():
    pixels = np.dstack([PIXELS, np.full((64, 96), 255, np.uint8)])
    pixels[:32, :, 3] = 0
    pixels[32:, 48:, 3] = 128
    flat = read_image(encoded(Image.fromarray(pixels), "PNG"), "image", LIMITS)
    assert (flat[:32] == 255).all()
    assert np.array_equal(flat[32:, :48], PIXELS[32:, :48])
    half = (PIXELS[32:, 48:].astype(int) * 128 + 255 * 127) / 255
    assert np.abs(flat[32:, 48:] - half).max() <= 1


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "L", "1"])
def test_other_modes_become_rgb(mode):
    picture = Image.fromarray(PIXELS).convert("P" if mode == "PA" else mode)
    if mode == "PA":
        picture.info["transparency"] = picture.getpixel((0, 0))
    pixels = read_image(encoded(picture, "PNG"), "image", LIMITS)
    assert pixels.shape == (64, 96, 3)
    if mode == "P":
        assert np.array_equal(pixels, np.asarray(picture.convert("RGB")))
    if mode == "PA":
        assert (pixels[0, 0] == 255).all()


def test_sixteen_bits_keep_their_brightness():
    grey = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    pixels = read_image(encoded(Image.fromarray(grey), "PNG"), "image", LIMITS)
    assert np.abs(pixels[..., 0] - grey / 257).max() <= 1
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_cmyk_becomes_rgb():
    pixels = read_image(encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95), "image", LIMITS)
    assert distance(pixels, PIXELS) < 4


def test_a_colour_profile_is_turned_into_srgb():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = (
        srgb.replace(b"rXYZ", b"????")
        .replace(b"gXYZ", b"rXYZ")
        .replace(b"????", b"gXYZ")
        .replace("sRGB".encode("utf-16-be"), b"\0s\0w\0a\0p")
    )
    for profile, expected in ((srgb, PIXELS), (b"nonsense", PIXELS), (swapped, PIXELS[..., [1, 0, 2]])):
        data = encoded(Image.fromarray(PIXELS), "PNG", icc_profile=profile)
        assert distance(read_image(data, "image", LIMITS), expected) < 1


def test_a_bomb_is_refused_by_its_header():
    data = making.png_header(10_000, 5_000)
    assert len(data) < 200
    for read in (read_image, probe):
        with pytest.raises(TooLarge, match=r"^source_image is 10000x5000, 50.0 megapixels; at most 25 are accepted"):
            read(data, "source_image", Limits())


def test_a_bomb_larger_than_pillow_allows_is_refused_too():
    for data in (making.png_header(60_000, 60_000), b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2 + b"\0" * 20):
        with pytest.raises(TooLarge):
            read_image(data, "source_image", LIMITS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("part", [0.98, 0.6, 0.1])
def test_cut_short(format, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(BadMedia, match=r"^source_image .*send the whole file again"):
        read_image(data[: int(len(data) * part)], "source_image", LIMITS)


def test_a_jpeg_of_endless_scans():
    data = encoded(Image.fromarray(PIXELS), "JPEG", progressive=True)
    assert read_image(data, "image", LIMITS).shape == PIXELS.shape
    start = data.rindex(b"\xff\xda")
    with pytest.raises(BadMedia, match="scans"):
        read_image(data[:start] + data[start:-2] * 200 + b"\xff\xd9", "image", LIMITS)


def test_video_is_no_picture():
    with pytest.raises(BadMedia, match="video/mp4, which is not accepted here; send PNG"):
        read_image(making.video(making.pictures(2)), "source_image", LIMITS)


def test_too_many_bytes():
    with pytest.raises(TooLarge, match="MB"):
        read_image(b"\xff\xd8\xff" + b"\0" * 200_000, "source_image", Limits(max_bytes=100_000))


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(pixels) for pixels in making.pictures(3)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_image(data, "image", LIMITS), making.pictures(1)[0])


@pytest.mark.parametrize(("format", "error"), [("png", 0), ("jpeg", 2), ("webp", 3)])
def test_written_pictures_read_back_and_carry_no_metadata(format, error):
    data = write_image(PIXELS, format)
    assert distance(read_image(data, "image", LIMITS), PIXELS) <= error
    with Image.open(io.BytesIO(data)) as picture:
        assert not picture.getexif()
        assert not {"comment", "exif", "xmp", "icc_profile", "prompt", "parameters"} & set(picture.info)


def test_quality_counts():
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for format in ("jpeg", "webp"):
        assert len(write_image(noise, format, quality=20)) < len(write_image(noise, format, quality=95))
