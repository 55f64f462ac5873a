"""The parts of PNG, JPEG, WebP, JPEG 2000 and EXIF data that Pillow does not tell or keep."""

import re
import struct
import zlib
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (  # chunks that do not depend on how pixels are stored
    b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt",
    b"tIME",
)  # fmt: skip
PNG_PIXELS = (b"IHDR", b"tRNS", b"IDAT", b"IEND")
ORIENTATION = 0x0112  # tag of EXIF data
XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))([0-9])')
SOF = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(..)(..)", re.DOTALL)  # of JPEG
SIZ = b"\xff\x4f\xff\x51"  # how the pixels of a JPEG 2000 begin: then come their sizes


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file.

    Args:
        data: The file, which may be damaged.

    Yields:
        The type of a chunk, and its content.
    """
    place = len(PNG)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if end > len(data):
            return
        yield data[place + 4 : place + 8], data[place + 8 : end - 4]
        place = end


def png_metadata(data: bytes, turned: bool) -> bytes:
    """The chunks of a PNG file that its denoised copy keeps.

    Args:
        data: The file.
        turned: Whether the copy is upright, and EXIF data are to say so.

    Returns:
        The chunks, one after the other.
    """
    kept = []
    for kind, content in png_chunks(data):
        if turned and kind == b"eXIf":
            content = upright(content)
        if turned and kind == b"iTXt":
            content = upright_xmp(content)
        if kind in PNG_KEPT:
            kept.append(_png_chunk(kind, content))
    return b"".join(kept)


def with_metadata(data: bytes, metadata: bytes) -> bytes:
    """A PNG file with other metadata.

    Args:
        data: The file.
        metadata: From `png_metadata`.

    Returns:
        The file with these chunks in place of its own.
    """
    header, *others = png_chunks(data)
    rest = [_png_chunk(*chunk) for chunk in others if chunk[0] not in PNG_KEPT]
    return PNG + _png_chunk(*header) + metadata + b"".join(rest)


def png_pixels(data: bytes) -> bytes:
    """A PNG file with pixels only, so that no decoder complains of a colour profile on stderr.

    Args:
        data: The file.

    Returns:
        A file of its chunks IHDR, tRNS, IDAT and IEND.
    """
    kept = [_png_chunk(*chunk) for chunk in png_chunks(data) if chunk[0] in PNG_PIXELS]
    return PNG + b"".join(kept)


def png_is_deep(data: bytes) -> bool:
    """Whether a PNG file has 16 bits of colour, or of grey with transparency.

    Args:
        data: The file.

    Returns:
        False for 8 bits, and for grey of 16 bits, which Pillow reads.
    """
    bits, colour = data[24:26]
    transparent = any(kind == b"tRNS" for kind, _ in png_chunks(data))
    return bits == 16 and (colour != 0 or transparent)


def webp_is_lossless(data: bytes) -> bool:
    """Whether the pixels of a WebP file are stored without loss.

    Args:
        data: The file.
    """
    place = 12
    while place + 8 <= len(data):
        kind = data[place : place + 4]
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    return False


def jpeg_pixels(data: bytes) -> int:
    """How many pixels JPEG data claim to have.

    Args:
        data: Of a file or a part of it, which may be damaged.

    Returns:
        The largest claim; 0 if there is none.
    """
    claims = [int.from_bytes(height, "big") * int.from_bytes(width, "big")
              for height, width in SOF.findall(data)]
    return max(claims, default=0)


def jpeg2000_bits(data: bytes) -> list[int]:
    """The bits of each channel of a JPEG 2000 file, negative where values have a sign.

    Args:
        data: The file.

    Returns:
        Such as [8, 8, 8]; empty if it is damaged.
    """
    start = data.find(SIZ) + len(SIZ)
    if start < len(SIZ) or len(data) < start + 38:
        return []
    (count,) = struct.unpack(">H", data[start + 36 : start + 38])
    depths = data[start + 38 : start + 38 + 3 * count : 3]
    return [-(depth - 127) if depth > 127 else depth + 1 for depth in depths]


def upright(exif: bytes) -> bytes:
    """EXIF data that say that the image is upright; all else stays, byte for byte.

    Args:
        exif: Of a file, which may be damaged.

    Returns:
        The same, with the orientation 1 if there is one.
    """
    prefix = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[prefix : prefix + 2])
    if order is None or len(exif) < prefix + 8:
        return exif
    place = prefix + struct.unpack(f"{order}I", exif[prefix + 4 : prefix + 8])[0]
    count = int.from_bytes(exif[place : place + 2], "little" if order == "<" else "big")
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if len(exif) < entry + 12:
            break
        if struct.unpack(f"{order}H", exif[entry : entry + 2])[0] == ORIENTATION:
            value = struct.pack(f"{order}HI", 3, 1) + struct.pack(f"{order}HH", 1, 0)
            return exif[: entry + 2] + value + exif[entry + 12 :]
    return exif


def upright_xmp(xmp: bytes) -> bytes:
    """XMP data that say that the image is upright.

    Args:
        xmp: Of a file.
    """
    return XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")
