"""What a board runs before edgekit is there: it says what it is, takes files, unpacks wheels and starts edgekit.

Sent over the link as text and run by any python3, so: standard library only, and no syntax younger than Python 3.5,
until `start`.
Requests come as JSON lines on descriptor 0, a file's bytes follow its line; answers are JSON lines behind a mark.
"""

import errno
import json
import os
import platform
import re
import select
import shutil
import sys
import time
from importlib import invalidate_caches
from importlib.util import find_spec
from typing import Any

MARK = b"edgekit:"
SILENCE_S = 900  # as long as the other side may take to fetch wheels
OLD_S = 30 * 86400
BLOCK = 1 << 16


def home() -> str:
    return os.path.join(os.path.expanduser("~"), ".cache", "edgekit")


def say(answer: "dict[str, Any]") -> None:
    line = MARK + json.dumps(answer).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def take(most: int) -> bytes:
    """Up to `most` bytes; ends this process where the other side is gone or silent."""
    if not select.select([0], [], [], SILENCE_S)[0]:
        sys.exit(3)
    block = os.read(0, most)
    if not block:
        sys.exit(3)
    return block


def take_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += take(1)
    return line


def hello(modules: "list[str]") -> "dict[str, Any]":
    libc = platform.libc_ver()
    os.makedirs(home(), exist_ok=True)
    return {
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "python": list(sys.version_info[:3]),
        "glibc": libc[1] if libc[0] == "glibc" else "",
        "free_bytes": shutil.disk_usage(home()).free,
        "time": time.time(),
        "modules": {name: find_spec(name) is not None for name in modules},
    }


def place(kind: str, name: str) -> str:
    """The path of a thing by its name, which is hexadecimal and so cannot lead anywhere else."""
    if kind not in ("models", "wheels", "env") or not re.match(r"^[0-9a-f]{8,64}$", name):
        raise ValueError("no name of ours: %s %s" % (kind, name))
    return os.path.join(home(), kind, name + (".tflite" if kind == "models" else ""))


def held(kind: str, names: "list[str]") -> "dict[str, Any]":
    """How many bytes of each are here: complete ones as a size, begun ones as where to go on."""
    found = {}
    for name in names:
        path = place(kind, name)
        if os.path.exists(path):
            os.utime(path, None)
            found[name] = {"whole": True, "bytes": 0 if os.path.isdir(path) else os.path.getsize(path)}
        else:
            part = path + ".part"
            found[name] = {"whole": False, "bytes": os.path.getsize(part) if os.path.exists(part) else 0}
    return found


def put(kind: str, name: str, offset: int, size: int) -> "dict[str, Any]":
    """Takes a file from `offset` on; it gets its name once its sha256 is the one asked for."""
    import hashlib

    path = place(kind, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".part", "ab") as file:
        if file.seek(0, os.SEEK_END) < offset:
            raise ValueError("asked to go on at %d, but less is here" % offset)
        file.truncate(offset)
        left = size - offset
        while left:
            block = take(min(BLOCK, left))
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    digest = hashlib.sha256()
    with open(path + ".part", "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != name:
        os.remove(path + ".part")
        return {"sound": False}
    os.rename(path + ".part", path)
    return {"sound": True}


def finish(env: str, made: str) -> "dict[str, Any]":
    """Gives a complete folder its name; a folder of that name that another contact made meanwhile serves as well."""
    try:
        os.rename(made, place("env", env))
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not os.path.isdir(place("env", env)):
            raise
    return {}


def fresh(env: str) -> str:
    made = place("env", env) + ".%d.part" % os.getpid()
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    return made


def unpack(env: str, wheels: "list[str]") -> "dict[str, Any]":
    """Unpacks wheels into one folder, which appears whole; the wheels are then not needed any more."""
    import zipfile  # slow to import on a slow board, and needed once

    made = fresh(env)
    try:
        for name in wheels:
            with zipfile.ZipFile(place("wheels", name)) as wheel:
                members = [item for item in wheel.namelist() if "/tests/" not in item]
                wheel.extractall(made, members)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    finish(env, made)
    for name in wheels:
        os.remove(place("wheels", name))
    return {}


def pip(env: str, requirements: "list[str]") -> "dict[str, Any]":
    """Has this board's own pip fetch what the other side could not."""
    import subprocess

    made = fresh(env)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", made]
    done = subprocess.Popen(
        command + requirements, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = done.communicate()[0].decode(errors="replace")
    if done.returncode:
        shutil.rmtree(made, ignore_errors=True)
        return {"failed": "pip", "message": (text.strip().splitlines() or ["no message"])[-1]}
    return finish(env, made)


def start(envs: "list[str]") -> "dict[str, Any]":
    """Goes on as edgekit, in this process: a slow board takes seconds for another start of Python."""
    sys.path[:0] = [place("env", env) for env in envs]
    os.chdir(os.path.join(home(), "models") if os.path.isdir(os.path.join(home(), "models")) else home())
    invalidate_caches()  # the folders may be younger than the last import
    from edgekit.board import main as serve

    serve()
    return {}


def sweep() -> "dict[str, Any]":
    """Removes what no contact has used for a month, and what a cut link left."""
    for kind in ("models", "wheels", "env"):
        folder = os.path.join(home(), kind)
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if time.time() - os.path.getmtime(path) > OLD_S:
                shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.remove(path)
    return {}


VERBS = {verb.__name__: verb for verb in (hello, held, put, unpack, pip, start, sweep)}


def main() -> None:
    while True:
        line = take_line().strip()
        if not line:
            continue
        request = json.loads(line.decode())
        try:
            say(VERBS[request.pop("verb")](**request))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            say({"failed": "full" if full else "system", "message": str(error)})
            sys.exit(4)  # what still comes of a file would be taken for a request
        except Exception as error:
            say({"failed": "value", "message": str(error)})
            sys.exit(4)


if __name__ == "__main__":
    main()
