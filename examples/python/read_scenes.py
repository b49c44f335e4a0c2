"""Prints what is seen by a live source, and how near (0 far to 100 near): read_scenes.py SOURCE"""
import asyncio
import sys

import msgpack

from connection import connect


async def main(source):
    connection = await connect()
    scenes = await connection.subscribe(f"scenes.live.*.{source}")
    print("reading", scenes.subject, flush=True)
    async for message in scenes.messages:
        scene = msgpack.unpackb(message.data)
        for found in scene["det"]:
            print(scene["seq"], found["l"], f"{found['s']:.2f}", [round(x) for x in found["b"]], found.get("d", {}).get("n"), flush=True)


asyncio.run(main(sys.argv[1]))
