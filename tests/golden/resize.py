"""Writes resize.json: a made-up image and what PIL and torchvision make of it.

pip install torch torchvision pillow; python tests/golden/resize.py
"""
import json, pathlib, types
import numpy as np, torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import functional as F
from torchvision.transforms import transforms as module


def picture(width, height):
    """Smooth waves and hard edges, computed in integers so that the test can draw the same."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rgb = [(x * 7 + y * 3) % 256, (x * y) % 256, np.where((x // 5 + y // 4) % 2 == 0, 230, 20)]
    return Image.fromarray(np.stack(rgb, -1).astype(np.uint8), "RGB")


def pixels(image):
    return np.asarray(image).reshape(-1).tolist()


centers = []
for width, height, size in [(70, 46, 10), (46, 71, 7), (35, 23, 12), (9, 12, 14), (97, 31, 6)]:
    out = T.CenterCrop(size)(T.Resize(size)(picture(width, height)))
    centers.append(dict(width=width, height=height, size=size, pixels=pixels(out)))

crops = []
for left, top, width, height, size in [(3, 2, 50, 40, 8), (0, 0, 70, 46, 7), (30, 20, 11, 9, 12)]:
    out = F.resized_crop(picture(70, 46), top, left, height, width, [size, size])
    crops.append(dict(left=left, top=top, width=width, height=height, size=size, pixels=pixels(out)))

boxes = []
generator = np.random.default_rng(0)
for width, height, scale in [(700, 460, (0.6, 1.0)), (224, 224, (0.6, 1.0)), (350, 228, (0.08, 1.0)), (40, 300, (0.5, 1.0))]:
    for _ in range(4):
        # Multiples of 2^-16 are exact in torch's single precision as in double.
        uniform = (generator.integers(0, 2**16, 64) / 2**16).tolist()
        queue = list(uniform)
        draw = lambda a, b: torch.tensor([float(a) + (float(b) - float(a)) * queue.pop(0)])
        module.torch = types.SimpleNamespace(
            empty=lambda n: types.SimpleNamespace(uniform_=draw), tensor=torch.tensor, log=torch.log, exp=torch.exp,
            randint=lambda a, b, size: torch.tensor([a + int((b - a) * queue.pop(0))]), Tensor=torch.Tensor)
        top, left, h, w = T.RandomResizedCrop.get_params(torch.zeros(3, height, width), scale, (3 / 4, 4 / 3))
        boxes.append(dict(image=[width, height], scale=scale, uniform=uniform[:64 - len(queue)], left=left, top=top, width=w, height=h))
        module.torch = torch

path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(dict(centers=centers, crops=crops, boxes=boxes), separators=(",", ":")) + "\n")
