"""A job for a real GPU: says which GPUs it sees, takes memory on the first one, and keeps it computing.

    python3 burn.py SECONDS MEBIBYTES

It needs the driver and nothing else: its kernel is a few lines of PTX, which the driver compiles.
"""

import ctypes
import sys
import time
from typing import Any
from uuid import UUID

CYCLES_PER_LAUNCH = 50_000_000

SPIN = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry spin(.param .u64 cycles)
{
    .reg .pred %again;
    .reg .u64 %begin, %now, %cycles;
    ld.param.u64 %cycles, [cycles];
    mov.u64 %begin, %clock64;
loop:
    mov.u64 %now, %clock64;
    sub.u64 %now, %now, %begin;
    setp.lt.u64 %again, %now, %cycles;
    @%again bra loop;
    ret;
}
\0"""


def main(seconds: float, mebibytes: int) -> None:
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(name: str, *arguments: Any) -> None:
        if code := getattr(cuda, name)(*arguments):
            sys.exit(f"{name} answers {code}")

    call("cuInit", 0)
    count = ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    for index in range(count.value):
        uuid = (ctypes.c_ubyte * 16)()
        call("cuDeviceGetUuid", ctypes.byref(uuid), index)
        say(f"sees GPU-{UUID(bytes=bytes(uuid))}")
    context, memory, module, kernel = (ctypes.c_void_p() for _ in range(4))
    call("cuCtxCreate_v2", ctypes.byref(context), 0, 0)
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(mebibytes << 20))
    call("cuModuleLoadData", ctypes.byref(module), SPIN)
    call("cuModuleGetFunction", ctypes.byref(kernel), module, b"spin")
    cycles = ctypes.c_uint64(CYCLES_PER_LAUNCH)
    parameters = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(cycles), ctypes.c_void_p))
    say("computes")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        call("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, None, parameters, None)
        call("cuCtxSynchronize")
    say("done")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
