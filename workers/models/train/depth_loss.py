"""The depth network's loss."""
import torch
from torch import Tensor

FARTHEST = 80.0  # metres that count
SKY = 0.002  # what the network should say of the sky and beyond, at most


def align(value: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """value after the scale and shift, per picture, that fit truth best by least squares over the valid pixels; all [B,H,W]."""
    w = valid.float()
    n = w.sum((1, 2)).clamp(min=1)
    mean_v, mean_t = (value * w).sum((1, 2)) / n, (truth * w).sum((1, 2)) / n
    v, t = value - mean_v[:, None, None], truth - mean_t[:, None, None]
    scale = (v * t * w).sum((1, 2)) / (v * v * w).sum((1, 2)).clamp(min=1e-6)
    return scale[:, None, None] * v + mean_t[:, None, None]


def loss(value: Tensor, truth: Tensor) -> Tensor:
    """Relative error as it is judged (after alignment) and as it is, error in inverse depth, and gradients at four scales.

    value, truth [B,H,W]: inverse depth, truth 0 for sky.
    """
    valid = truth > 1 / FARTHEST
    weight = valid / (truth + 0.01)
    n = valid.sum().clamp(min=1)
    aligned = align(value, truth, valid)
    total = ((aligned - truth).abs() * weight).sum() / n + ((value - truth).abs() * weight).sum() / n
    total = total + ((value - truth).abs() * valid).sum() / (truth * valid).sum()  # the near decide the alignment
    log = torch.log(value.clamp(min=1e-4)) - torch.log(truth.clamp(min=1e-4))
    for step in (1, 2, 4, 8):
        error, ok = log[:, ::step, ::step], valid[:, ::step, ::step]
        for d, both in ((error.diff(dim=1), ok[:, 1:] & ok[:, :-1]), (error.diff(dim=2), ok[:, :, 1:] & ok[:, :, :-1])):
            total = total + 0.1 * (d.abs() * both).sum() / both.sum().clamp(min=1)
    far = ~valid
    return total + ((value - SKY).clamp(min=0) * far).sum() / far.sum().clamp(min=1) * 10
