"""The notebook's functions and constants."""

import asyncio

params = 3


async def fetch(x):
    await asyncio.sleep(0)
    return x
