"""Writes formats.safetensors: small image files of many sample formats, with the pixels that they hold.

pip install numpy pillow tifffile imagecodecs safetensors; python tests/golden/formats.py
Last run with Pillow 13.0.0, tifffile 2026.3.3 and numpy 2.4.6.

Each case has its file under `NAME/file` and, if it is to be read, its pixels in RGB with 8 bits under `NAME/pixels`.
Files of 8 bits a sample hold what PIL's `Image.open(file).convert("RGB")` gives, as torchvision's ImageFolder reads them;
those of 16 bits hold what tifffile reads, or what was written, divided by 257 and rounded.
"""
import io, pathlib
import numpy as np, tifffile
from PIL import Image
from safetensors.numpy import save_file

WIDTH, HEIGHT = 7, 5
x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
rgb = np.stack([x * 40 + 3, y * 60 + 2, (x * y * 11) % 256], -1).astype(np.uint8)
gray = rgb[..., 0]
alpha = (255 - 20 * x).astype(np.uint8)
deep = np.stack([x * 10922, y * 16383, (x * y * 2731) % 65536], -1).astype(np.uint16)
out = {}


def put(name, data, pixels=None):
    out[f"{name}/file"] = np.frombuffer(data, np.uint8)
    if pixels is not None:
        pixels = np.asarray(pixels)
        assert pixels.dtype == np.uint8 and pixels.shape[-1] == 3, (name, pixels.dtype, pixels.shape)
        out[f"{name}/pixels"] = np.ascontiguousarray(pixels)


def in_rgb(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def pil(name, image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    put(name, file.getvalue(), in_rgb(file.getvalue()))


def eighth(array):
    """16 bits to 8, three channels."""
    array = np.asarray(array)
    array = np.repeat(array[..., None], 3, -1) if array.ndim == 2 else array[..., :3]
    return np.round(array / 257).astype(np.uint8)


def tiff(name, array, expected="pil", **settings):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **settings)
    data = file.getvalue()
    if isinstance(expected, str):
        expected = dict(pil=in_rgb, deep=lambda d: eighth(tifffile.imread(io.BytesIO(d))), refused=lambda d: None)[expected](data)
    put(name, data, expected)


full = Image.fromarray(rgb)
modes = {
    "rgb": full, "rgba": Image.fromarray(np.dstack([rgb, alpha])), "gray": Image.fromarray(gray),
    "gray_alpha": Image.fromarray(np.dstack([gray, alpha])), "palette": full.quantize(16),
    "bilevel": Image.fromarray(gray > 100), "cmyk": full.convert("CMYK"),
}
for kind, fit in dict(
    png=["rgb", "rgba", "gray", "gray_alpha", "palette", "bilevel"], tiff=["rgb", "rgba", "gray", "bilevel", "cmyk"],
    bmp=["rgb", "gray", "palette", "bilevel"], jpeg=["rgb", "gray", "cmyk"],
).items():
    for mode in fit:
        pil(f"{kind}_{mode}", modes[mode], kind)
pil("png_palette_transparent", full.quantize(16), "png", transparency=3)
for compression in ["tiff_lzw", "tiff_adobe_deflate", "packbits"]:
    pil(f"tiff_rgb_{compression}", full, "tiff", compression=compression)
for mode, image in dict(palette=modes["palette"], gray_alpha=modes["gray_alpha"], ycbcr=full.convert("YCbCr")).items():
    file = io.BytesIO()
    image.save(file, "tiff")
    put(f"refused_tiff_{mode}", file.getvalue())

tiff("tiff_white_is_zero", gray, photometric="miniswhite")
tiff("tiff_planar", np.moveaxis(rgb, -1, 0).copy(), photometric="rgb", planarconfig="separate")
tiff("tiff_two_pages", np.stack([rgb, rgb[::-1]]), photometric="rgb")
tiff("tiff_big", rgb, photometric="rgb", bigtiff=True)
tiff("tiff_big_endian", deep, "deep", photometric="rgb", byteorder=">")
tiff("tiff_premultiplied_opaque", np.dstack([rgb, alpha * 0 + 255]), photometric="rgb", extrasamples=["assocalpha"])
tiff("refused_tiff_premultiplied", np.dstack([rgb, alpha]), "refused", photometric="rgb", extrasamples=["assocalpha"])
tiff("tiff_rgb16", deep, "deep", photometric="rgb")
tiff("tiff_gray16", deep[..., 0], "deep", photometric="minisblack")
tiff("tiff_rgba16", np.dstack([deep, deep[..., 0]]), "deep", photometric="rgb", extrasamples=["unassalpha"])
tiff("tiff_white_is_zero16", deep[..., 0], eighth(65535 - deep[..., 0]), photometric="miniswhite")

# Numbers without a white: nothing in the file says which of them is one.
for name, array in {
    "rgb_float32": rgb.astype(np.float32), "rgb_float32_unit": rgb.astype(np.float32) / 255, "rgb_float64": rgb.astype(np.float64),
    "rgb_float16": rgb.astype(np.float16), "rgb_uint32": rgb.astype(np.uint32), "rgb_int16": rgb.astype(np.int16),
    "rgb_int8": (rgb // 2).astype(np.int8), "rgba_float32": np.dstack([rgb, alpha]).astype(np.float32), "rgb_uint64": rgb.astype(np.uint64),
}.items():
    extra = dict(extrasamples=["unassalpha"]) if name.startswith("rgba") else {}
    tiff(f"refused_tiff_{name}", array, "refused", photometric="rgb", **extra)
for dtype in ["float32", "float64", "uint32", "int16", "int32"]:
    tiff(f"refused_tiff_gray_{dtype}", gray.astype(dtype), "refused", photometric="minisblack")
tiff("refused_tiff_bands", np.dstack([rgb, rgb[..., :2]]), "refused", photometric="minisblack", planarconfig="contig")
# 12 bits in samples of 16, as many cameras write them, and 8 bits in 16.
tiff("refused_tiff_rgb_12_of_16", (deep // 16), "refused", photometric="rgb")
tiff("refused_tiff_gray_8_of_16", gray.astype(np.uint16), "refused", photometric="minisblack")
file = io.BytesIO()
Image.fromarray(deep[..., 0] // 16).save(file, "png")
put("refused_png_gray_12_of_16", file.getvalue())
file = io.BytesIO()
Image.fromarray(deep[..., 0]).save(file, "png")
put("png_gray16", file.getvalue(), eighth(deep[..., 0]))

for kind in ["jpeg", "png", "tiff"]:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        settings = dict(quality=100, subsampling=0) if kind == "jpeg" else {}
        smooth = Image.fromarray(np.stack([x * 30, y * 40, x * 0 + 90], -1).astype(np.uint8))
        if kind == "tiff":
            pil(f"turned_{kind}_{orientation}", smooth, kind, tiffinfo={0x0112: orientation})
        else:
            pil(f"turned_{kind}_{orientation}", smooth, kind, exif=exif, **settings)

path = pathlib.Path(__file__).with_suffix(".safetensors")
save_file(out, path)
print(len(out), "tensors,", path.stat().st_size, "bytes")
