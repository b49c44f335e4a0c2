#!/usr/bin/env python3
"""Makes coco.json beside this file: random truths and detections, and what pycocotools says of them.

Run by hand: python3 -m venv v && ../../../build/pip.sh coco >v/coco.txt && v/bin/pip install -r v/coco.txt && v/bin/python coco.py
"""
import json
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

LABELS = ["person", "car", "dog"]
rng = np.random.default_rng(7)
images, gt_anns, dt_anns, cases = [], [], [], []
for image in range(1, 41):
    images.append({"id": image, "width": 640, "height": 360})
    truths, detections = [], []
    for _ in range(rng.integers(0, 12)):
        x, y, w, h = (float(v) for v in (rng.integers(0, 500), rng.integers(0, 250), rng.integers(8, 140), rng.integers(6, 110)))
        category = int(rng.integers(1, 4))
        ignored = h < 12
        gt_anns.append({"id": len(gt_anns) + 1, "image_id": image, "category_id": category, "bbox": [x, y, w, h],
                        "area": w * h, "iscrowd": 0, "ignore": int(ignored)})
        truths.append({"label": LABELS[category - 1], "box": [x, y, x + w, y + h], "ignored": ignored})
        for _ in range(rng.integers(0, 3)):
            jitter = rng.normal(0, 0.07, 4) * [w, h, w, h]
            other = category if rng.random() < 0.9 else int(rng.integers(1, 4))
            box = [round(float(v), 2) for v in (x + jitter[0], y + jitter[1], max(2, w + jitter[2]), max(2, h + jitter[3]))]
            detections.append((other, box, round(float(rng.random()), 2)))
    for _ in range(rng.integers(0, 4)):
        box = [float(v) for v in (rng.integers(0, 500), rng.integers(0, 250), rng.integers(8, 140), rng.integers(12, 110))]
        detections.append((int(rng.integers(1, 4)), box, round(float(rng.random()), 2)))
    for category, (x, y, w, h), score in detections:
        dt_anns.append({"image_id": image, "category_id": category, "bbox": [x, y, w, h], "score": score})
    cases.append({"truths": truths, "detections": [
        {"label": LABELS[c - 1], "score": s, "bbox": [x, y, x + w, y + h]} for c, (x, y, w, h), s in detections]})


class IgnoringEval(COCOeval):
    """COCOeval overwrites every truth's `ignore` with `iscrowd`; here what the annotation says stays."""

    def _prepare(self):
        super()._prepare()
        for truths in self._gts.values():
            for truth in truths:
                truth["ignore"] = int(truth["area"] / truth["bbox"][2] < 12)


coco = COCO()
coco.dataset = {"info": {}, "images": images, "annotations": gt_anns, "categories": [{"id": i + 1, "name": n} for i, n in enumerate(LABELS)]}
coco.createIndex()
evaluation = IgnoringEval(coco, coco.loadRes(dt_anns), "bbox")
evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
evaluation.evaluate()
evaluation.accumulate()
precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
out = {
    "images": cases,
    "map50": float(precision[0].mean()), "map50_95": float(precision.mean()),
    "classes": {name: {"ap50": float(precision[0, :, i].mean()), "ap50_95": float(precision[:, :, i].mean())}
                for i, name in enumerate(LABELS)},
}
pathlib.Path(__file__).with_name("coco.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
print({k: v for k, v in out.items() if k != "images"})
