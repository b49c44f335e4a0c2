"""A worker group of your own: answers each frame with the mean brightness of its picture, 0 to 255: brightness.py [GROUP]"""
import asyncio
import io
import json
import os
import sys
import time
from functools import reduce

import msgpack
import nats
from connection import connect
from PIL import Image, ImageStat

COPIED = ("v", "src", "ses", "seq", "mode", "cap", "w", "h", "plan", "par", "cp", "bud", "file")  # from a frame into its result


def look(frame):
    assert not frame.get("err"), frame["err"]  # there is no picture: every group answers with the reason
    return {"mean": ImageStat.Stat(Image.open(io.BytesIO(frame["pic"])).convert("L")).mean[0]}


async def answer(connection, group, message):
    taken, frame = time.time_ns(), msgpack.unpackb(message.data)
    if frame["v"] > 2:
        return await message.nak(delay=10)  # it is for a newer program
    result = {key: frame[key] for key in COPIED if key in frame} | {"g": group}
    try:
        result["ans"] = look(frame)
    except Exception as reason:  # whatever goes wrong is the frame's answer, or its film would wait for ever
        result["err"] = str(reason)[:200]
    times = {"wa": max(0, taken - frame["sent"]), "wo": time.time_ns() - taken}
    result |= {"led": frame["led"] + [{"st": group, **times}], "sent": time.time_ns()}
    old = reduce(lambda h, byte: (h ^ byte) * 0x01000193 % 2**32, frame["src"].encode(), 0x811C9DC5) % 4  # FNV-1a, of version 1
    subject = f"results.{group}.{frame['mode']}.{frame.get('par', 0) if frame['v'] > 1 else old}.{frame['src']}"
    await connection.jetstream().publish(subject, msgpack.packb(result), headers={"Nats-Msg-Id": message.headers["Nats-Msg-Id"] + "/" + group})
    done = {key: frame[key] for key in ("v", "ses", "seq")} | times | {"out": "error" if "err" in result else "complete", "q": message.metadata.num_pending + 1}
    await connection.publish(f"done.{group}.{frame['src']}", msgpack.packb(done))  # q tells a live source how many wait
    await message.ack()  # last of all: whatever fails before, the frame comes again after 3 s, and is answered once


async def take(connection, group, mode):
    frames = await connection.jetstream().pull_subscribe_bind(group, f"FRAMES_{mode}")
    while True:
        try:
            await answer(connection, group, *await frames.fetch(1, timeout=2))
        except nats.errors.Error:  # nothing came, or NATS is away
            await asyncio.sleep(0.1)


async def main(group="brightness"):
    connection = await connect(max_reconnect_attempts=-1)
    alive = {"stage": group, "instance": os.urandom(8).hex(), "host": os.uname().nodename, "wire": 2, "parallel": 1}
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(take(connection, group, mode)) for mode in ("LIVE", "LOSSLESS")]
        while not any(task.done() for task in both):
            await asyncio.gather(asyncio.sleep(1), connection.publish(f"alive.{group}.{alive['instance']}", json.dumps(alive).encode()))


asyncio.run(main(*sys.argv[1:]))
