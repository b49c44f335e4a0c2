#!/usr/bin/env python3
"""Prints what one inference of each model costs, one thread, all in one run: cost.py MODEL.onnx… The first is the measure."""
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort


def session(path: str) -> tuple[ort.InferenceSession, dict[str, np.ndarray]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    s = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    one = s.get_inputs()[0]
    shape = [n if isinstance(n, int) else (1 if i == 0 else 518) for i, n in enumerate(one.shape)]
    return s, {one.name: np.random.default_rng(1).random(shape, np.float32)}


def main(paths: list[str]) -> None:
    sessions = [session(p) for p in paths]
    times: list[list[float]] = [[] for _ in paths]
    for round_ in range(40):
        for i, (s, feed) in enumerate(sessions):  # in turns, so that other load meets all alike
            begin = time.perf_counter()
            s.run(None, feed)
            if round_ >= 5:
                times[i].append(time.perf_counter() - begin)
    first = statistics.median(times[0])
    for path, t in zip(paths, times):
        median = statistics.median(t)
        print(f"{path}: median {median * 1000:.1f} ms, {median / first:.2f} of the first")


if __name__ == "__main__":
    main(sys.argv[1:])
