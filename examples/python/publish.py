"""Publishes pictures as a live source, and prints what became of each: publish.py SOURCE PICTURE..."""
import asyncio
import os
import pathlib
import sys

import nats


async def main(source, *pictures):
    connection = await nats.connect(os.getenv("NATS_URL", "nats://127.0.0.1:4222"))
    for picture in pictures:
        answer = await connection.request(f"ingest.{source}", pathlib.Path(picture).read_bytes(), timeout=5)
        print(picture, answer.data.decode())
    await connection.close()


asyncio.run(main(*sys.argv[1:]))
