#!/usr/bin/env python3
"""Writes semantic.safetensors: what scikit-image, SciPy, PyTorch, torchvision and Pillow make of stains and of a scanner's changes.

pip install torch torchvision safetensors scipy scikit-image pillow; python semantic.py
Versions when last run: printed below.
"""
import io, os
import numpy as np, torch, torchvision, scipy, skimage, PIL
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import save_file
from scipy.ndimage import affine_transform, gaussian_filter
from skimage.color import combine_stains, hed2rgb, hed_from_rgb, rgb2hed, rgb_from_hdx, rgb_from_hed, separate_stains
from skimage.transform import rotate
from torchvision.transforms.functional import adjust_brightness, adjust_contrast

print(*(f"{m.__name__} {m.__version__}" for m in (torch, torchvision, scipy, skimage, PIL)))
rng = np.random.default_rng(11)
out = {}
HERE = os.path.dirname(os.path.abspath(__file__))
last, first = lambda x: np.moveaxis(x, -3, -1), lambda x: np.moveaxis(x, -1, -3)
unit = lambda levels: (levels / np.float32(255)).astype(np.float32)

# Stains. Tissue: white, pink, purple and blue pixels with noise, and every corner of the cube.
colors = np.array([[240, 238, 242], [225, 150, 190], [140, 90, 160], [80, 60, 130]])
tissue = np.clip(colors[rng.integers(0, 4, (2, 11, 9))] + rng.normal(0, 12, (2, 11, 9, 3)), 0, 255).round()
tissue[0, 0, :8] = 255 * np.array(list(np.ndindex(2, 2, 2)))
images = unit(first(tissue))
out["stain.images"] = images
out["stain.hed"] = first(rgb2hed(last(images.astype(np.float64))))
stains = rng.uniform(-0.05, 0.3, (2, 3, 11, 9))
out["stain.stains"] = stains
out["stain.rgb"] = first(hed2rgb(last(stains)))
out["stain.colors"], out["stain.residual"] = rgb_from_hed, rgb_from_hdx
out["stain.hdx"] = first(separate_stains(last(images.astype(np.float64)), np.linalg.inv(rgb_from_hdx)))

# The gradient of a weighted sum of pixels with respect to six numbers an image, by PyTorch in double precision, in natural density.
x = torch.tensor(images.astype(np.float64))
forward, back = torch.tensor(hed_from_rgb), torch.tensor(rgb_from_hed)
shift = torch.tensor(rng.uniform(-0.2, 0.2, (2, 6)), requires_grad=True)
weights = torch.tensor(rng.normal(0, 1, images.shape))
amounts = torch.einsum("bkhw,kc->bchw", -torch.log(torch.clamp(x, min=1e-6)), forward)
moved = (1 + shift[:, :3, None, None]) * amounts + shift[:, 3:, None, None]
shifted = torch.exp(-torch.einsum("bchw,ck->bkhw", moved, back))
(shifted * weights).sum().backward()
out["shift.numbers"], out["shift.weights"] = shift.detach().numpy(), weights.numpy()
out["shift.images"], out["shift.gradient"] = shifted.detach().numpy(), shift.grad.numpy()

# A scanner's changes of a picture with an edge, in red, green and blue and in grey.
for channels, height, width in ((3, 24, 33), (1, 20, 16)):
    y, x = np.mgrid[:height, :width]
    planes = [128 + 70 * np.sin(0.21 * x + 0.13 * y * (c + 1)) + 40 * (x + y > 0.7 * width) * (c - 1) for c in range(channels)]
    picture = unit(np.clip(np.stack(planes) + 12 * rng.standard_normal((channels, height, width)), 0, 255).round())
    name, exact = f"scan.{channels}", picture.astype(np.float64)
    out[name] = picture
    for sigma in (0.3, 1.0, 2.5, 12.0):
        out[f"{name}.blur.{sigma}"] = np.stack([gaussian_filter(plane, sigma, mode="reflect") for plane in exact])
    torch_picture = torch.tensor(exact)
    for factor in (0.6, 1.3):
        out[f"{name}.brightness.{factor}"] = adjust_brightness(torch_picture, factor).numpy()
        out[f"{name}.contrast.{factor}"] = adjust_contrast(torch_picture, factor).numpy()
    for degrees, down, right in ((5.0, 0.0, 0.0), (-30.0, 0.0, 0.0), (0.0, 0.1, -0.02), (170.0, 0.3, -0.6)):
        angle = np.deg2rad(degrees)
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle, offset = (np.array([height, width]) - 1) / 2, np.array([down * height, right * width])
        moved = np.stack([affine_transform(plane, matrix, middle - matrix @ (middle + offset), order=1, mode="reflect") for plane in exact])
        # PyTorch's grid is in halves of the sides, right before down.
        (a, b), (c, d) = matrix
        cross = width / height
        shift = -matrix @ offset
        theta = torch.tensor([[d, c / cross, 2 * shift[1] / width], [b * cross, a, 2 * shift[0] / height]])[None]
        grid = F.affine_grid(theta, (1, channels, height, width), align_corners=False)
        sampled = F.grid_sample(torch_picture[None], grid, padding_mode="reflection", align_corners=False)[0].numpy()
        assert np.abs(sampled - moved).max() < 1e-9, np.abs(sampled - moved).max()
        if down == right == 0 and abs(degrees) < 10:
            inside = slice(6, -6)
            turned = np.stack([rotate(plane, degrees, order=1, mode="symmetric") for plane in exact])
            assert np.abs(turned - moved)[:, inside, inside].max() < 1e-9, "scikit-image turns the other way"
        out[f"{name}.motion.{degrees}.{down}.{right}"] = moved

# All at once, and Pillow's JPEG last.
exact = torch.tensor(out["scan.3"].astype(np.float64))
height, width = exact.shape[1:]
angle = np.deg2rad(-5)
matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
middle, offset = (np.array([height, width]) - 1) / 2, np.array([0.02 * height, 0.0])
moved = np.stack([affine_transform(plane, matrix, middle - matrix @ (middle + offset), order=1, mode="reflect") for plane in exact.numpy()])
blurred = torch.tensor(np.stack([gaussian_filter(plane, 1.0, mode="reflect") for plane in moved]))
levels = np.rint(adjust_contrast(adjust_brightness(blurred, 1.1), 0.9).numpy() * 255).astype(np.uint8)
file = io.BytesIO()
Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0))).save(file, "JPEG", quality=75, subsampling="4:2:0")
out["scan.all"] = unit(np.asarray(Image.open(io.BytesIO(file.getvalue()))).transpose(2, 0, 1))

save_file({name: np.ascontiguousarray(array).astype(np.float32) for name, array in out.items()}, os.path.join(HERE, "semantic.safetensors"))
