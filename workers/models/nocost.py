#!/usr/bin/env python3
"""Makes the two models of no cost beside this file: `make models` runs it.

nocost_detect.onnx: images [1,3,640,640] -> output0 [1,84,8400], the raw head of a YOLOv8 export. Eight boxes, four
across and two down, score 0.3 + 0.6 x the mean of the input, each 0.005 less than the one before it.
nocost_depth.onnx: pixel_values [1,3,H,W] -> predicted_depth [1,H,W], the mean over the channels.
They cost next to nothing, so that what is measured with them is the pipeline.
"""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,"
    "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
).split(",")
ANCHORS, CLASSES, BOXES = 8400, 80, 8


def save(file, graph, metadata):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="spatial-flow")
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    onnx.checker.check_model(model)
    onnx.save(model, pathlib.Path(__file__).with_name(file))


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def detect():
    boxes = np.zeros((1, 4, BOXES), np.float32)
    factor, offset = np.zeros((1, CLASSES, BOXES), np.float32), np.zeros((1, CLASSES, BOXES), np.float32)
    for i in range(BOXES):
        boxes[0, :, i] = 80 + 160 * (i % 4), 200 + 240 * (i // 4), 100, 180
        factor[0, i % 3, i], offset[0, i % 3, i] = 0.6, 0.3 - 0.005 * i
    zero = numpy_helper.from_array(np.zeros(1, np.float32))
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean4"], keepdims=1),
        helper.make_node("Squeeze", ["mean4", "first"], ["mean"]),
        helper.make_node("Mul", ["factor", "mean"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["columns"], axis=1),
        helper.make_node("ConstantOfShape", ["rest"], ["zeros"], value=zero),
        helper.make_node("Concat", ["columns", "zeros"], ["output0"], axis=2),
    ]
    graph = helper.make_graph(
        nodes, "nocost_detect",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, ANCHORS])],
        [constant("boxes", boxes), constant("factor", factor), constant("offset", offset),
         constant("first", np.array([0], np.int64)), constant("rest", np.array([1, 4 + CLASSES, ANCHORS - BOXES], np.int64))])
    save("nocost_detect.onnx", graph, {
        "description": "Spatial-Flow model of no cost", "license": "Apache-2.0", "stride": 32, "task": "detect", "batch": 1,
        "imgsz": [640, 640], "names": dict(enumerate(COCO)), "args": {"batch": 1, "half": False, "dynamic": False, "nms": False}, "channels": 3})


def depth():
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["pixel_values"], ["predicted_depth"], axes=[1], keepdims=0)], "nocost_depth",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("predicted_depth", TensorProto.FLOAT, [1, "height", "width"])])
    save("nocost_depth.onnx", graph, {"description": "Spatial-Flow model of no cost", "license": "Apache-2.0"})


if __name__ == "__main__":
    detect()
    depth()
