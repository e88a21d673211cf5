"""Cells that take all the memory there is, each in another way, and cells that only look like it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tests.notebook.containers import Container
from tests.notebook.kernels import Kernel

SETUP = """
import asyncio, array, copy, io, itertools, json, mmap, os, pickle, subprocess, sys, threading, time
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import numpy as np
keep = np.arange(1_000_000)
began = []
EATER = "x = []\\nwhile True: x.append(bytearray(b'x' * 1_000_000))"
def eat(_):
    x = []
    while True: x.append(bytearray(b'x' * 1_000_000))
"""


@dataclass(frozen=True)
class Bomb:
    """`source` stands below the guard line. `before` runs unguarded; `lost` says why the kernel is expected to die."""

    name: str
    source: str
    before: str = ""
    options: str = ""
    lost: str = ""


BOMBS = (
    Bomb("many arrays", "xs = []\nwhile True: xs.append(np.ones(1_000_000))"),
    Bomb("one array", "x = np.ones(1 << 28)"),
    Bomb("one array in one call, touched", "x = np.full(100_000_000, 7.0)"),
    Bomb("zeros, then fill", "x = np.zeros(110_000_000)\nx.fill(1)"),
    Bomb("list of a range", "x = list(range(300_000_000))"),
    Bomb("bytes", "x = b'x' * (900 << 20)"),
    Bomb("growing list", "x = []\nwhile True: x.append('item' * 10)"),
    Bomb("growing list of objects", "x = []\nwhile True: x.append(object())"),
    Bomb("growing dict", "x = {}\nfor i in itertools.count(): x[i] = i"),
    Bomb("growing set", "x = set()\nfor i in itertools.count(): x.add(i)"),
    Bomb("doubling string", "x = 'a' * 1000\nwhile True: x += x"),
    Bomb("growing bytearray", "x = bytearray()\nwhile True: x.extend(b'x' * 1_000_000)"),
    Bomb("BytesIO", "x = io.BytesIO()\nwhile True: x.write(b'x' * 1_000_000)"),
    Bomb("array module", "x = array.array('d')\nwhile True: x.extend([1.0] * 100_000)"),
    Bomb("anonymous mmap", "x = []\nwhile True:\n    m = mmap.mmap(-1, 16 << 20)\n    m.write(b'x' * (16 << 20))\n    x.append(m)"),
    Bomb("shared memory", "with open('/dev/shm/mlguard-bomb', 'wb') as f:\n    while True: f.write(b'x' * (8 << 20)); f.flush()"),
    Bomb("pickle", "x = [list(range(200_000)) for _ in range(20)]\ny = []\nwhile True: y.append(pickle.dumps(x))"),
    Bomb("json", "x = list(range(1_000_000))\ny = []\nwhile True: y.append(json.dumps(x))"),
    Bomb("deep copies", "x = [np.ones(100_000) for _ in range(50)]\ny = []\nwhile True: y.append(copy.deepcopy(x))"),
    Bomb("recursion", "sys.setrecursionlimit(100_000)\ndef go(n):\n    here = np.ones(200_000)\n    return go(n + 1) + here[0]\ngo(0)"),
    Bomb("generator into a list", "x = list(bytes(1000) for _ in itertools.count())"),
    Bomb("comprehension", "x = [np.ones(10_000) for _ in itertools.count()]"),
    Bomb("outer product", "a = np.ones(30_000)\nx = np.outer(a, a)"),
    Bomb("tile", "x = np.tile(np.ones(1_000_000), 1000)"),
    Bomb("concatenate", "x = np.ones(1_000_000)\nwhile True: x = np.concatenate([x, x])"),
    Bomb("random numbers", "x = []\nrng = np.random.default_rng(0)\nwhile True: x.append(rng.normal(size=2_000_000))"),
    Bomb("sorted", "x = list(itertools.product(range(1200), repeat=2))\nwhile True: x = sorted(x + x)"),
    Bomb("swallows Exception", "x = []\ntry:\n    while True: x.append(np.ones(1_000_000))\nexcept Exception: pass\nwhile True: x.append(np.ones(1_000_000))"),
    Bomb("swallows in the loop", "x = []\nwhile True:\n    try: x.append(np.ones(1_000_000))\n    except Exception: pass"),
    Bomb("allocates in finally", "x = []\ntry:\n    while True: x.append(np.ones(1_000_000))\nfinally:\n    x.append(np.ones(2_000_000))"),
    Bomb("a thread", "def work():\n    x = []\n    while True: x.append(np.ones(1_000_000))\nt = threading.Thread(target=work); t.start(); t.join()"),
    Bomb("a pool of threads", "def work(i):\n    x = []\n    while True: x.append(bytes(1_000_000))\nwith ThreadPoolExecutor(4) as pool: list(pool.map(work, range(4)))"),
    Bomb("a child process", "subprocess.run([sys.executable, '-c', 'x = []\\nwhile True: x.append(bytearray(10_000_000))'])\ntime.sleep(1)\nx = []\nwhile True: x.append(np.ones(1_000_000))"),
    Bomb("a forked child", "pid = os.fork()\nif pid == 0:\n    x = []\n    while True: x.append(bytearray(b'x' * 1_000_000))\nos.waitpid(pid, 0)\nx = []\nwhile True: x.append(np.ones(1_000_000))"),
    Bomb("Popen", "p = subprocess.Popen([sys.executable, '-c', EATER])\np.wait()"),
    Bomb("a pool of forked workers", "with mp.get_context('fork').Pool(2) as pool: pool.map(eat, range(2))"),
    Bomb("joblib workers", "joblib.Parallel(2)(joblib.delayed(eat)(i) for i in range(2))", before="import joblib"),
    Bomb("a process pool", "with ProcessPoolExecutor(2, mp_context=mp.get_context('fork')) as pool: list(pool.map(eat, range(2)))"),
    Bomb("async", "x = []\nwhile True:\n    x.append(np.ones(1_000_000))\n    await asyncio.sleep(0)"),
    Bomb("async tasks", "async def work():\n    x = []\n    while True:\n        x.append(np.ones(500_000))\n        await asyncio.sleep(0.001)\nawait asyncio.gather(*(work() for _ in range(4)))"),
    Bomb("inside a with", "class Held:\n    def __enter__(self): self.x = []; return self\n    def __exit__(self, *e): return False\nwith Held() as h:\n    while True: h.x.append(np.ones(1_000_000))"),
    Bomb("sparse, overcommitted", "x = np.zeros(1 << 29)\nfor i in range(0, x.size, 1 << 20): x[i : i + (1 << 20)] = 1", options="overcommit"),
    Bomb(
        "C code that ignores NULL",
        "libc.memset(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(3 << 30))), 1, ctypes.c_size_t(3 << 30))",
        before="import ctypes\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p",
        lost="writes through the null pointer that malloc returned",
    ),
    Bomb(
        "polars, which is Rust",
        "x = pl.select(pl.repeat(1.5, 1 << 20, dtype=pl.Float64)).to_series()\nwhile True: x = pl.concat([x, x], rechunk=True)",
        before="import polars as pl",
        lost="Rust ends the process where an allocation fails",
    ),
    Bomb(
        "memory reserved before the guard, touched by one call",
        "reserved.fill(1.0)",
        before="reserved = np.empty(1 << 28)",
        lost="no allocation fails, and no signal is heard inside one C call",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Calm:
    """A cell that looks like a bomb and is none: it must end without an error."""

    name: str
    source: str
    options: str = ""


FILE = f"/var/tmp/mlguard-page-cache-{os.getpid()}"  # larger than the container's limit, so that its cache fills the container
CALM = (
    Calm("a file written", f"with open('{FILE}', 'wb') as f:\n    for _ in range(120): f.write(b'x' * (10 << 20))"),
    Calm("a file read", f"with open('{FILE}', 'rb') as f:\n    while f.read(10 << 20): pass"),
    Calm(
        "a file read once an epoch",
        f"for _ in range(3):\n    with open('{FILE}', 'rb') as f:\n        while f.read(10 << 20) and f.tell() < (700 << 20): pass",
    ),
    Calm("an array mapped from a file", f"x = np.memmap('{FILE}', mode='r')\nint(x[:: 1 << 12].sum())\ndel x"),
    Calm("64 threads", "go = threading.Event()\nts = [threading.Thread(target=go.wait) for _ in range(64)]\nfor t in ts: t.start()\ntime.sleep(0.2); go.set()\nfor t in ts: t.join()"),
    Calm("a sparse array", "x = np.zeros(1 << 31)\nx[:: 1 << 25] = 1\ndel x", options="overcommit"),
    Calm("memory that was given back", "for _ in range(6):\n    x = np.ones(30_000_000); del x"),
    Calm("many small objects", "x = [str(i) for i in range(1_000_000)]; del x"),
    Calm("import torch", "try: import torch\nexcept ImportError: raise LookupError('not installed') from None\ntorch.ones(1000, 1000) @ torch.ones(1000, 1000);"),
)  # fmt: skip


def contained_kernel(container: Container) -> Kernel:
    """A kernel inside the container, with something worth keeping."""
    kernel = container.kernel()
    kernel.run("%load_ext mlguard_nb")
    kernel.run(SETUP)
    return kernel


def stay_calm(kernel: Kernel, calm: Calm, timeout: float = 120) -> str:
    """Run the cell; "" when nothing raised an alarm, "not installed" where what it needs is not there."""
    try:
        answer = kernel.run(f"%%guard mem=0.6 {calm.options}\n{calm.source}", timeout=timeout)
    except AssertionError as died:
        return str(died).splitlines()[0]
    if answer.error == "LookupError":
        return "not installed"
    return f"{answer.error}: {answer.traceback[-300:]}" if answer.error else ""


def set_off(kernel: Kernel, bomb: Bomb, timeout: float = 60) -> str:
    """Run the bomb; "" when the kernel and its names survived with a MemoryPressure, else what went wrong."""
    try:
        if bomb.before:
            prepared = kernel.run(bomb.before)
            assert prepared.error is None, f"cannot be prepared: {prepared.traceback[-300:]}"
        answer = kernel.run(f"%%guard mem=0.6 {bomb.options}\nbegan.append(1)\n{bomb.source}", timeout=timeout)
        state = kernel.run("(int(keep.sum()), len(keep))", timeout=timeout).result
        began = kernel.run("len(began), began.clear()", timeout=timeout).result
        kernel.run(
            "for _n in ('x', 'xs', 'y', 'h', 'm', 'reserved'): globals().pop(_n, None)\nOut.clear()", timeout=timeout
        )
        kernel.run(
            "try: os.unlink('/dev/shm/mlguard-bomb')\nexcept OSError: pass\nimport gc; gc.collect();", timeout=timeout
        )
    except AssertionError as died:
        return str(died).splitlines()[0]
    if answer.error != "MemoryPressure":
        return f"ended with {answer.error}, not with MemoryPressure: {answer.traceback[-300:]}"
    if began != "(1, None)":
        return f"the cell before it left too little memory for this one to begin: {answer.traceback[-300:]}"
    return "" if state == "(499999500000, 1000000)" else f"state changed: {state}"
