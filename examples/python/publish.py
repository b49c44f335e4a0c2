"""Publishes pictures as a live source, and prints what became of each: publish.py SOURCE PICTURE..."""
import asyncio
import pathlib
import sys

from connection import connect


async def main(source, *pictures):
    connection = await connect(allow_reconnect=False)  # what is wrong is said at once
    for picture in pictures:
        answer = await connection.request(f"ingest.{source}", pathlib.Path(picture).read_bytes(), timeout=5)
        print(picture, answer.data.decode())
    await connection.close()


asyncio.run(main(*sys.argv[1:]))
