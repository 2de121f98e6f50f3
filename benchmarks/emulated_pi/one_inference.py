"""Runs a .tflite twice on one thread and marks the second run for the instruction counter (system call 1234).

Runs inside the emulated Arm root, where there is LiteRT and numpy and nothing else.
"""

import ctypes
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MARK = 1234

libc = ctypes.CDLL(None)
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
noise = np.random.default_rng(0).integers(0, 100, detail["shape"]).astype(detail["dtype"])
interpreter.set_tensor(detail["index"], noise)
interpreter.invoke()
libc.syscall(MARK, 0)
interpreter.invoke()
libc.syscall(MARK, 1)
