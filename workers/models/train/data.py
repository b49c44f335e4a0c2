"""Frames of `spatialflow street export` in memory-mapped arrays, and the augmentation of both trainings."""
import json
import pathlib
from dataclasses import dataclass

import cv2
import numpy as np

from networks import COCO_IDS

WIDTH, HEIGHT = 640, 360
METRES = 256  # of a 16-bit depth sample


@dataclass
class Frames:
    images: np.ndarray  # [n, HEIGHT, WIDTH, 3] uint8, RGB
    depths: np.ndarray  # [n, HEIGHT, WIDTH] uint16, metres × METRES, 0: sky
    boxes: list[np.ndarray]  # per frame [k, 6]: x1, y1, x2, y2 in pixels, class index, 1 when it must be found


def load(folder: pathlib.Path) -> Frames:
    """Opens an exported dataset; the first time its pictures are decoded into arrays beside it."""
    _, *rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    images, depths = folder / "images.npy", folder / "depths.npy"
    if not depths.exists():
        out = np.lib.format.open_memmap(images, "w+", np.uint8, (len(rows), HEIGHT, WIDTH, 3))
        deep = np.lib.format.open_memmap(folder / "depths.tmp.npy", "w+", np.uint16, (len(rows), HEIGHT, WIDTH))
        for i, row in enumerate(rows):
            out[i] = cv2.imread(str(folder / "images" / f"{row['name']}.jpg"))[..., ::-1]
            deep[i] = cv2.imread(str(folder / "depth" / f"{row['name']}.png"), cv2.IMREAD_UNCHANGED)
        out.flush(), deep.flush()
        (folder / "depths.tmp.npy").rename(depths)
    boxes = []
    for row in rows:
        boxes.append(np.array([[*o["box"], COCO_IDS.index(o["class"]), countable(o)] for o in row["objects"]], np.float32).reshape(-1, 6))
    return Frames(np.load(images, mmap_mode="r"), np.load(depths, mmap_mode="r"), boxes)


def countable(o: dict) -> bool:
    """Whether a detector must find it: the street's CountVisible and CountHeight."""
    return o["visible"] >= 0.25 and o["box"][3] - o["box"][1] >= 12


def distort(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour, light, blur, noise and JPEG, as cameras differ. image [h, w, 3] uint8 RGB."""
    if rng.random() < 0.85:
        gain = rng.uniform(0.65, 1.4) * rng.uniform(0.85, 1.18, 3)
        mix = np.eye(3)
        if rng.random() < 0.5:  # hue: turn colours about the grey axis
            angle, third = rng.uniform(-0.9, 0.9), 1 / 3
            c, s = np.cos(angle), np.sin(angle) * np.sqrt(third)
            mix = c * np.eye(3) + (1 - c) * third + s * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        saturation = rng.uniform(0.2, 1.5)
        mix = (saturation * np.eye(3) + (1 - saturation) / 3) @ mix
        matrix = np.concatenate((gain[:, None] * mix, rng.uniform(-25, 25) * np.ones((3, 1))), 1)
        image = cv2.transform(image, matrix)
    if rng.random() < 0.3:
        table = (255 * (np.arange(256) / 255) ** rng.uniform(0.6, 1.6)).astype(np.uint8)
        image = cv2.LUT(image, table)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 1.1))
    if rng.random() < 0.35:
        grain = np.empty(image.shape, np.int16)
        cv2.randn(grain, 0, rng.uniform(1, 9))
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))))
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def window(rng: np.random.Generator, width: int, height: int, low: float, high: float) -> tuple[float, float, float]:
    """A scale and the left top corner, in the scaled frame, of a window of width × height; it may reach over the edges
    where the scaled frame is smaller."""
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    left = rng.uniform(min(0, WIDTH * scale - width), max(0, WIDTH * scale - width))
    top = rng.uniform(min(0, HEIGHT * scale - height), max(0, HEIGHT * scale - height))
    return scale, left, top


def detect_sample(frames: Frames, rng: np.random.Generator, size: tuple[int, int], scales: tuple[float, float], exact: bool, changed: float) -> tuple[np.ndarray, np.ndarray]:
    """One picture [h, w, 3] uint8, its surroundings 114, and its boxes [k, 6]. exact: the whole frame, as it is used;
    changed: how likely it is distorted, before and after the scaling."""
    i = int(rng.integers(len(frames.boxes)))
    height, width = size
    scale, left, top = (1.0, 0.0, -12.0) if exact else window(rng, width, height, *scales)
    image = np.ascontiguousarray(frames.images[i])
    matrix = np.array([[scale, 0, -left + 0.5 * scale - 0.5], [0, scale, -top + 0.5 * scale - 0.5]])
    image = distort(image, rng) if rng.random() < changed else image
    out = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR if scale > 0.7 else cv2.INTER_AREA, borderValue=(114, 114, 114))
    out = distort(out, rng) if rng.random() < changed else out
    boxes = frames.boxes[i].copy()
    whole = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * scale * scale
    boxes[:, [0, 2]] = np.clip(boxes[:, [0, 2]] * scale - left, 0, width)
    boxes[:, [1, 3]] = np.clip(boxes[:, [1, 3]] * scale - top, 0, height)
    sides = boxes[:, 2:4] - boxes[:, :2]
    left_over = sides.prod(1) / np.maximum(whole, 1e-6)
    boxes[:, 5] *= (sides[:, 1] >= 9) & (sides[:, 0] >= 3) & (left_over > 0.3)
    boxes = boxes[(sides > 1).all(1) & (left_over > 0.05)]
    if rng.random() < 0.5:
        out = cv2.flip(out, 1)
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return out, boxes


def depth_sample(frames: Frames, rng: np.random.Generator, size: tuple[int, int], exact: bool, changed: float) -> tuple[np.ndarray, np.ndarray]:
    """One picture [h, w, 3] uint8 and its inverse depth [h, w] float32 (0: sky) at the network's size; changed: how likely
    it is distorted."""
    i = int(rng.integers(len(frames.boxes)))
    height, width = size
    share = 1.0 if exact else float(rng.uniform(0.6, 1))
    w, h = int(WIDTH * share), int(HEIGHT * share * (1 if exact else rng.uniform(0.92, 1)))
    x, y = int(rng.integers(WIDTH - w + 1)), int(rng.integers(HEIGHT - h + 1))
    image = cv2.resize(np.ascontiguousarray(frames.images[i, y:y + h, x:x + w]), (width, height), interpolation=cv2.INTER_CUBIC)
    metres = cv2.resize(np.ascontiguousarray(frames.depths[i, y:y + h, x:x + w]), (width, height), interpolation=cv2.INTER_NEAREST)
    image = distort(image, rng) if rng.random() < changed else image
    inverse = np.where(metres > 0, METRES / np.maximum(metres, 1).astype(np.float32), np.float32(0)) / np.float32(share)  # a window looks nearer
    if rng.random() < 0.5:
        image, inverse = cv2.flip(image, 1), cv2.flip(inverse, 1)
    return image, inverse
