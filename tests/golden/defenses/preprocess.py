#!/usr/bin/env python3
"""Writes preprocess.safetensors and jpeg.safetensors: what Pillow, SciPy, ART and PyTorch make of the preprocessings in src/defense/preprocess.

pip install torch torchvision safetensors scipy pillow "adversarial-robustness-toolbox==1.20.1"; python preprocess.py
Versions when last run: torch 2.15, scipy 1.17, Pillow 13.0 with libjpeg-turbo 3.2, ART 1.20.1.
"""
import io, os
import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import median_filter
from scipy.optimize import minimize
from art.defences.preprocessor import FeatureSqueezing, SpatialSmoothing, TotalVarMin
from safetensors.numpy import save_file

rng = np.random.default_rng(5)
out, jpeg = {}, {}
HERE = os.path.dirname(os.path.abspath(__file__))


def picture(channels, height, width):
    """Waves, an edge and noise, as 8-bit levels [channels, height, width]."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 70 * np.sin(0.21 * x + 0.13 * y * (c + 1)) + 40 * (x + y > 0.7 * width) * (c - 1) for c in range(channels)]
    return np.clip(np.rint(np.stack(planes) + 12 * rng.standard_normal((channels, height, width))), 0, 255).astype(np.uint8)


# JPEG, read back by Pillow.
for channels, height, width in [(3, 37, 43), (3, 32, 16), (3, 9, 4), (3, 5, 7), (1, 21, 30)]:
    levels = picture(channels, height, width)
    name = f"{channels}x{height}x{width}"
    jpeg[name] = levels
    image = Image.fromarray(levels.transpose(1, 2, 0) if channels == 3 else levels[0])
    for quality in (10, 50, 75, 95) if width == 43 else (1, 10, 50, 75, 95, 100):
        for subsampling in ("4:4:4", "4:2:0") if channels == 3 else ("4:2:0",):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, subsampling=subsampling)
            read = np.asarray(Image.open(io.BytesIO(file.getvalue())))
            jpeg[f"{name}.{quality}.{subsampling}"] = np.ascontiguousarray(read.transpose(2, 0, 1) if channels == 3 else read[None])

# Bit depth and median by ART and SciPy.
levels = picture(3, 13, 10)
unit = (levels / np.float32(255)).astype(np.float32)
fine = rng.random((3, 13, 10), dtype=np.float32)
out["squeeze.levels"], out["squeeze.fine"] = unit, fine
for name, x in (("levels", unit), ("fine", fine)):
    for bits in range(1, 9):
        out[f"squeeze.{name}.{bits}"] = FeatureSqueezing(clip_values=(0.0, 1.0), bit_depth=bits)(x)[0].astype(np.float32)
    for window in (1, 2, 3, 4, 5, 24):
        found = median_filter(x, size=(1, window, window), mode="reflect")
        assert (found == SpatialSmoothing(window_size=window, channels_first=True)(x[None])[0][0]).all()
        out[f"median.{name}.{window}"] = found

# Random resizing and padding with fixed sizes and places (height, width, top, left), from 20x10 to 22x11.
images = torch.tensor(rng.random((3, 1, 20, 10), dtype=np.float32))
out["resize.images"] = images.numpy().copy()
places = [(20, 10, 2, 1), (22, 11, 0, 0), (21, 10, 1, 0)]
for mode in ("bilinear", "nearest"):
    for fill, suffix in ((0.0, "0"), (0.5, "half")):
        x = images.clone().requires_grad_()
        rows = []
        for image, (height, width, top, left) in zip(x, places):
            options = dict(align_corners=False) if mode == "bilinear" else {}
            resized = F.interpolate(image[None], size=(height, width), mode=mode, **options)
            rows.append(F.pad(resized, (left, 11 - width - left, top, 22 - height - top), value=fill))
        result = torch.cat(rows)
        (result**2).sum().backward()
        out[f"resize.{mode}.{suffix}.out"], out[f"resize.{mode}.{suffix}.gradient"] = result.detach().numpy(), x.grad.numpy()

# Total variation: ART's objective and gradient, and its minimum by SciPy.
image = np.float64(picture(1, 12, 17)[0] / 255)
image = image.astype(np.float32).astype(np.float64)
mask = (rng.random(image.shape) < 0.3).astype("int")
other = rng.random(image.shape)
out["tv.image"], out["tv.mask"], out["tv.other"] = image, mask.astype(np.float64), other
# ART doubles the slope of the second term in the 2-norm, so that half its weight gives the true gradient.
loss = lambda z, weight: TotalVarMin._loss_func(z, image, mask, 2, weight)
slope = lambda z, weight: TotalVarMin._deri_loss_func(z, image, mask, 2, weight / 2)
for weight, name in ((0.5, "half"), (0.03, "0.03")):
    for place, z in (("image", image), ("other", other)):
        out[f"tv.{place}.{name}.loss"] = np.array([loss(z.flatten(), weight)])
        out[f"tv.{place}.{name}.gradient"] = slope(z.flatten(), weight)
    for iterations in (10, 500):
        # From beside the image, where the objective has a kink.
        start = np.clip(image + 1e-3 * rng.standard_normal(image.shape), 0, 1).flatten()
        found = minimize(loss, start, (weight,), "L-BFGS-B", slope, bounds=[(0, 1)] * image.size, options=dict(maxiter=iterations))
        out[f"tv.{name}.{iterations}.minimum"] = np.array([found.fun])
        print(weight, iterations, loss(image.flatten(), weight), found.fun, found.nit, found.message)

save_file(out, os.path.join(HERE, "preprocess.safetensors"))
save_file(jpeg, os.path.join(HERE, "jpeg.safetensors"))
