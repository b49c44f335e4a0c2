"""Assignment of places to boxes and the detector's loss."""
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from networks import COCO_IDS

TOP_PLACES = 10  # that learn each box
SCORE_GAIN, BOX_GAIN = 1.0, 10.0
SCORE_POWER, IOU_POWER = 0.5, 6.0  # Feng et al., "TOOD: Task-aligned One-stage Object Detection", 2021, eq. 3; as in YOLOv8


def iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes x1, y1, x2, y2 in the last dimension."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return inner / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner + 1e-7)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU (Zheng et al., "Distance-IoU Loss", 2020) of boxes x1, y1, x2, y2 in the last dimension."""
    overlap = iou(a, b)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).pow(2).sum(-1)
    shape = 4 / torch.pi**2 * (torch.atan(size_b[..., 0] / (size_b[..., 1] + 1e-7)) - torch.atan(size_a[..., 0] / (size_a[..., 1] + 1e-7))).pow(2)
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart / (outer.pow(2).sum(-1) + 1e-7) - weight * shape


@torch.no_grad()
def assign(boxes: Tensor, probabilities: Tensor, centres: Tensor, strides: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which place learns which true box, for one picture.

    boxes [N,4], probabilities [N,C], centres [N,2], strides [N], truth [k,6] as data.py gives it.
    Returns index [N] (-1: none), target score [N], and ignored [N]: places within a box that need not be found.
    """
    n = len(boxes)
    must = truth[truth[:, 5] > 0]
    rest = truth[truth[:, 5] == 0]
    within = lambda t: ((centres[None] > t[:, None, :2]) & (centres[None] < t[:, None, 2:4])).all(-1)
    ignored = within(rest).any(0) if len(rest) else torch.zeros(n, dtype=torch.bool)
    index, target = torch.full((n,), -1), torch.zeros(n)
    if not len(must):
        return index, target, ignored
    overlap = iou(boxes[None], must[:, None, :4])
    # A box smaller than a stride holds no centre: the places within a stride of its centre may learn it too.
    middle = (must[:, :2] + must[:, 2:4]) / 2
    close = ((centres[None] - middle[:, None]).abs() < strides[None, :, None]).all(-1)
    inside = within(must) | close
    metric = (probabilities[:, must[:, 4].long()].T.clamp(min=1e-6).pow(SCORE_POWER) * overlap.clamp(min=1e-4).pow(IOU_POWER)) * inside
    top = metric.topk(min(TOP_PLACES, n), 1)
    chosen = torch.zeros_like(metric, dtype=torch.bool).scatter_(1, top.indices, top.values > 0)
    owner_overlap = torch.where(chosen, overlap, -1.0)
    best, owner = owner_overlap.max(0)  # a place wanted by two boxes learns the one it overlaps most
    mine = best >= 0
    index[mine] = owner[mine]
    won = torch.where(chosen & (owner[None] == torch.arange(len(must))[:, None]), metric, 0.0)
    scale = torch.where(chosen, overlap, 0.0).max(1).values / won.max(1).values.clamp(min=1e-12)
    target = (won * scale[:, None]).sum(0).clamp(0, 1)
    return index, torch.where(mine, target, torch.zeros(n)), ignored & ~mine


def class_weights(boxes: list[np.ndarray]) -> Tensor:
    """Weight [C] of each class in the loss: rare ones count more, by the fourth root of how much rarer they are than the
    most frequent, since the mean average precision counts all classes alike. boxes as data.py gives them."""
    counts = torch.from_numpy(np.bincount(np.concatenate(boxes)[:, 4].astype(int), minlength=len(COCO_IDS)))
    return (counts.max() / counts.clamp(min=1)).pow(0.25).float()


def loss(sides: Tensor, logits: Tensor, centres: Tensor, strides: Tensor, truths: list[Tensor], weights: Tensor) -> Tensor:
    """Binary cross-entropy of the scores and complete IoU of the boxes, per assigned score; weights [C] of the classes."""
    boxes = torch.cat((centres - sides[..., :2], centres + sides[..., 2:]), -1)
    wanted, keep = torch.zeros_like(logits), torch.ones_like(logits)
    total, box_loss = 0.0, sides.new_zeros(())
    for b, truth in enumerate(truths):
        index, target, ignored = assign(boxes[b].detach(), logits[b].detach().sigmoid(), centres, strides, truth)
        keep[b, ignored] = 0
        mine = index >= 0
        if not mine.any():
            continue
        must = truth[truth[:, 5] > 0][index[mine]]
        labels = must[:, 4].long()
        share = target[mine] * weights[labels]
        total += float(share.sum())
        wanted[b, mine.nonzero().squeeze(1), labels] = target[mine]
        box_loss = box_loss + ((1 - complete_iou(boxes[b][mine], must[:, :4])) * share).sum()
    scores = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * keep * weights).sum()
    return (SCORE_GAIN * scores + BOX_GAIN * box_loss) / max(total, 1.0)
