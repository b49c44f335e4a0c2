#!/usr/bin/env python3
"""Trains one of the demo networks: train.py detect|depth --data DIR --out DIR --minutes 40.

It stops when the time is up, whatever steps were made: the learning rate follows the clock. Killed, the same command
goes on from the last checkpoint. log.jsonl has a line per 100 steps.
"""
import argparse
import copy
import json
import math
import pathlib
import queue
import threading
import time

import cv2
import numpy as np
import torch
from torch import Tensor, nn

import data
import depth_loss
import detect_loss
import networks

CROP = (288, 448)  # height, width of most detector batches; the rest, and the end, are whole frames
WHOLE_FROM = 0.8  # of the time: from here on whole frames only
HALF = (128, 224)  # height, width of the first depth batches, four times as many a minute
HALF_UNTIL = 0.35  # of the time
SAVE_EVERY = 120  # seconds


class Task:
    """What differs between the two trainings."""

    def __init__(self, name: str, frames: data.Frames):
        self.name, self.frames = name, frames
        self.net: nn.Module = networks.Detector() if name == "detect" else networks.Depth()
        self.weights = detect_loss.class_weights(frames.boxes)
        self.places = {size: networks.places(*size) for size in (CROP, networks.DETECT_SIZE)}

    def batch(self, rng: np.random.Generator, done: float) -> tuple:
        """One batch for the share of the time that is gone."""
        if self.name == "depth":
            half = done < HALF_UNTIL
            samples = [data.depth_sample(self.frames, rng, HALF if half else networks.DEPTH_SIZE, rng.random() < 0.3 + 0.5 * done, 0.3 if done > WHOLE_FROM else 1) for _ in range(24 if half else 8)]
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (networks.Depth.MEAN, networks.Depth.STD))
            return (images(samples) - mean) / std, torch.from_numpy(np.stack([s[1] for s in samples]))
        whole = done > WHOLE_FROM or rng.random() < 0.15
        size = networks.DETECT_SIZE if whole else CROP
        scales = (0.8, 1.25) if whole else (0.7, 1.4)
        exact, changed = (0.8, 0.3) if done > WHOLE_FROM else (0.3, 0.5)
        samples = [data.detect_sample(self.frames, rng, size, scales, whole and rng.random() < exact, changed) for _ in range(6 if whole else 10)]
        return images(samples), [torch.from_numpy(s[1]) for s in samples], size

    def loss(self, batch: tuple) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = self.net(batch[0])
        if self.name == "depth":
            return depth_loss.loss(out.float(), batch[1])
        centres, strides = self.places[batch[2]]
        return detect_loss.loss(out[0].float(), out[1].float(), centres, strides, batch[1], self.weights)


def images(samples: list) -> Tensor:
    """[B,3,H,W] float, 0 to 1, channels last in memory."""
    return torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2).float().div_(255)


def rate(done: float, peak: float) -> float:
    """Learning rate: a short warm-up, then a cosine to a hundredth."""
    return peak * min(done / 0.03, 1) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def feed(task: Task, batches: queue.Queue, seed: int, share: list[float], stop: threading.Event) -> None:
    rng = np.random.default_rng(seed)
    while not stop.is_set():
        batches.put(task.batch(rng, share[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("detect", "depth"))
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    task = Task(args.task, data.load(args.data))
    task.net.to(memory_format=torch.channels_last)
    peak = 2e-3
    bare = [p for p in task.net.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW([{"params": [p for p in task.net.parameters() if p.ndim > 1], "weight_decay": 0.03}, {"params": bare, "weight_decay": 0}], lr=peak)
    average = copy.deepcopy(task.net).eval()
    checkpoint, step, spent = args.out / f"{args.task}.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        task.net.load_state_dict(state["net"]), average.load_state_dict(state["average"]), optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["seconds"]
    budget, stop = args.minutes * 60, threading.Event()
    share = [spent / budget]  # of the time, gone
    batches: queue.Queue = queue.Queue(3)
    threading.Thread(target=feed, args=(task, batches, args.seed + step, share, stop), daemon=True).start()
    begin, saved, sums = time.monotonic() - spent, time.monotonic(), [0.0, 0]

    def save() -> None:
        partial = checkpoint.with_suffix(".tmp")
        torch.save({"net": task.net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "seconds": time.monotonic() - begin}, partial)
        partial.rename(checkpoint)

    with open(args.out / f"{args.task}.jsonl", "a") as log:
        while share[0] < 1:
            for group in optimiser.param_groups:
                group["lr"] = rate(share[0], peak)
            value = task.loss(batches.get())
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(task.net.parameters(), 10.0)
            optimiser.step()
            step += 1
            keep = min(0.999, 1 - 1 / (step / 10 + 1))
            with torch.no_grad():
                for a, p in zip(average.state_dict().values(), task.net.state_dict().values()):
                    a.mul_(keep).add_(p, alpha=1 - keep) if a.dtype.is_floating_point else a.copy_(p)
            sums = [sums[0] + float(value.detach()), sums[1] + 1]
            if step % 100 == 0:
                row = {"step": step, "minutes": round((time.monotonic() - begin) / 60, 2), "loss": round(sums[0] / sums[1], 4), "rate": optimiser.param_groups[0]["lr"]}
                sums = [0.0, 0]
                print(json.dumps(row), file=log, flush=True)
                print(f"\r{args.task}: step {step}, {row['minutes']:.1f} of {args.minutes:.0f} min, loss {row['loss']:.3f}   ", end="", flush=True)
            if time.monotonic() - saved > SAVE_EVERY:
                save()
                saved = time.monotonic()
            share[0] = (time.monotonic() - begin) / budget
    stop.set()
    save()
    print()


if __name__ == "__main__":
    main()
