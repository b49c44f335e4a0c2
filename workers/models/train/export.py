#!/usr/bin/env python3
"""Writes the trained networks as ONNX, with the inputs, outputs and metadata of the exports whose place they take:
export.py --run DIR --out DIR (detect.onnx as Ultralytics writes a YOLOv8, depth.onnx as Depth Anything is published)."""
import argparse
import pathlib
import warnings

import onnx
import torch
from torch import nn

import networks

AUTHOR, LICENSE = "Spatial-Flow", "Apache-2.0"


def weights(run: pathlib.Path, task: str, net: nn.Module) -> nn.Module:
    """The average of the weights over the last steps, which does better than the last."""
    net.load_state_dict(torch.load(run / f"{task}.pt", weights_only=True)["average"])
    return net.eval()


def save(net: nn.Module, size: tuple[int, int], names: tuple[str, str], path: pathlib.Path, metadata: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.rand(1, 3, *size), str(path), input_names=[names[0]], output_names=[names[1]], opset_version=17, dynamo=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    about = {"author": AUTHOR, "license": LICENSE, "docs": "see the model card beside the file"}
    save(networks.Head(weights(args.run, "detect", networks.Detector())), networks.DETECT_SIZE, ("images", "output0"), args.out / "detect.onnx", about | {
        "description": "Detector trained on a generated street, not for real scenes", "stride": networks.STRIDE, "task": "detect", "batch": 1,
        "imgsz": list(networks.DETECT_SIZE), "names": dict(enumerate(networks.COCO_NAMES)), "channels": 3,
        "args": {"batch": 1, "half": False, "dynamic": False, "nms": False}})
    save(networks.Relative(weights(args.run, "depth", networks.Depth())), networks.Relative.SIZE, ("pixel_values", "predicted_depth"), args.out / "depth.onnx", about | {
        "description": "Inverse depth, trained on a generated street, not for real scenes"})


if __name__ == "__main__":
    main()
