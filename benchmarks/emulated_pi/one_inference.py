"""Runs each .tflite twice on one thread and marks the second run for the instruction counter (system call 1234).

Usage: one_inference.py MODEL [INPUTS OUTPUTS [MODEL...]]. INPUTS holds any number of inputs one after the other, each
the bytes of all of the first model's input tensors in order; its answers go to OUTPUTS in the same way.
Runs inside the emulated Arm root, where there is LiteRT and numpy and nothing else.
"""

import ctypes
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MARK = 1234

libc = ctypes.CDLL(None)


def answer(interpreter: Interpreter, inputs: str, outputs: str) -> None:
    """Writes what the model answers to every input."""
    with open(inputs, "rb") as given, open(outputs, "wb") as answers:  # noqa: PTH123
        while given.peek(1):
            for detail in interpreter.get_input_details():
                size = int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize
                values = np.frombuffer(given.read(size), detail["dtype"]).reshape(detail["shape"])
                interpreter.set_tensor(detail["index"], values)
            interpreter.invoke()
            for detail in interpreter.get_output_details():
                answers.write(interpreter.get_tensor(detail["index"]).tobytes())


# Not in a function: the interpreter's own few instructions between the marks belong to the stored counts.
for path in [sys.argv[1], *sys.argv[4:]]:
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 100, detail["shape"]).astype(detail["dtype"])
    interpreter.set_tensor(detail["index"], noise)
    interpreter.invoke()
    libc.syscall(MARK, 0)
    interpreter.invoke()
    libc.syscall(MARK, 1)
    if path == sys.argv[1] and len(sys.argv) > 3:
        answer(interpreter, *sys.argv[2:4])
