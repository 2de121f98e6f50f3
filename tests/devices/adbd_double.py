#!/usr/bin/env python3
"""Test-only adb device daemon over TCP (adb transport protocol v1, checksum'd): CNXN/AUTH/OPEN/OKAY/WRTE/CLSE,
services shell:, shell,v2:, exec:, sync: (STAT LIST SEND RECV).  usage: adbd_double.py PORT ROOT [--auth] -- prefix-cmd..."""

import os
import queue
import socket
import struct
import subprocess
import sys
import threading

A = lambda s: struct.unpack("<I", s)[0]
CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = map(A, (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE"))
MAX = 256 * 1024


class Conn:
    def __init__(s, sock, root, prefix, auth, props):
        s.k = sock
        s.root = root
        s.prefix = prefix
        s.auth = auth
        s.props = props
        s.w = threading.Lock()
        s.st = {}
        s.n = 0
        s.v = 0x01000000

    def rx(s, n):
        b = b""
        while len(b) < n:
            c = s.k.recv(n - len(b))
            if not c:
                raise EOFError
            b += c
        return b

    def tx(s, cmd, a0, a1, d=b""):
        with s.w:
            s.k.sendall(struct.pack("<6I", cmd, a0, a1, len(d), sum(d) & 0xFFFFFFFF, cmd ^ 0xFFFFFFFF) + d)

    def hello(s):
        s.tx(
            CNXN,
            0x01000000,
            MAX,
            ("device::" + "".join(f"{k}={v};" for k, v in s.props.items()) + "features=shell_v2,cmd").encode(),
        )

    def run(s):
        try:
            while True:
                cmd, a0, a1, n, ck, mg = struct.unpack("<6I", s.rx(24))
                d = s.rx(n)
                assert cmd == mg ^ 0xFFFFFFFF
                if cmd == CNXN:
                    s.tx(AUTH, 1, 0, os.urandom(20)) if s.auth else s.hello()
                elif cmd == AUTH:
                    s.hello() if a0 in (2, 3) else None  # accepts any signature / public key
                elif cmd == OPEN:
                    s.n += 1
                    x = Stream(s, s.n, a0)
                    s.st[s.n] = x
                    threading.Thread(target=x.serve, args=(d.rstrip(b"\0").decode(),), daemon=True).start()
                elif cmd == OKAY and a1 in s.st:
                    s.st[a1].ok.release()
                elif cmd == WRTE and a1 in s.st:
                    s.st[a1].inq.put(d)
                    s.tx(OKAY, a1, a0)
                elif cmd == CLSE and a1 in s.st:
                    s.tx(CLSE, a1, a0)
                    gone = s.st.pop(a1, None)  # the stream's own thread may have been quicker
                    gone and gone.kill()
        except (EOFError, OSError):
            pass
        for x in list(s.st.values()):
            x.kill()


class Stream:
    def __init__(s, c, l, r):
        s.c = c
        s.l = l
        s.r = r
        s.ok = threading.Semaphore(0)
        s.inq = queue.Queue()
        s.buf = b""
        s.p = None
        s.dead = False
        s.wl = threading.Lock()

    def kill(s):
        s.dead = True
        s.ok.release()
        s.inq.put(None)
        if s.p and s.p.poll() is None:
            os.killpg(s.p.pid, 9)

    def write(s, d):
        with s.wl:
            for i in range(0, len(d), MAX - 64):
                s.c.tx(WRTE, s.l, s.r, d[i : i + MAX - 64])
                s.ok.acquire()
                if s.dead:
                    raise EOFError

    def read(s, n):
        while len(s.buf) < n:
            d = s.inq.get()
            if d is None:
                raise EOFError
            s.buf += d
        r, s.buf = s.buf[:n], s.buf[n:]
        return r

    def serve(s, name):
        try:
            if name.startswith(("shell", "exec:")):
                s.c.tx(OKAY, s.l, s.r)
                s.shell(name)
            elif name == "sync:":
                s.c.tx(OKAY, s.l, s.r)
                s.sync()
            else:
                pass  # unknown service: refuse with CLSE
        except EOFError:
            pass
        if not s.dead:
            s.c.tx(CLSE, s.l, s.r)
            s.c.st.pop(s.l, None)

    def shell(s, name):
        svc, cmd = name.split(":", 1)
        v2 = svc.startswith("shell,") and "v2" in svc.split(",")
        s.p = p = subprocess.Popen(
            s.c.prefix + ["sh", "-c", cmd] if cmd else s.c.prefix + ["sh"],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if v2 else subprocess.STDOUT,
        )

        def pump(f, i):
            try:
                while True:
                    b = os.read(f.fileno(), 65536)
                    if not b:
                        return
                    s.write(struct.pack("<BI", i, len(b)) + b if v2 else b)
            except EOFError:
                pass

        def feed():
            try:
                while True:
                    if v2:
                        i, n = struct.unpack("<BI", s.read(5))
                        b = s.read(n)
                        if i == 0:
                            p.stdin.write(b)
                            p.stdin.flush()
                        elif i == 3:
                            p.stdin.close()
                    else:
                        d = s.inq.get()
                        if d is None:
                            return
                        p.stdin.write(d)
                        p.stdin.flush()
            except (EOFError, OSError, ValueError):
                pass

        threading.Thread(target=feed, daemon=True).start()
        ts = [threading.Thread(target=pump, args=(p.stdout, 1))] + (
            [threading.Thread(target=pump, args=(p.stderr, 2))] if v2 else []
        )
        [t.start() for t in ts]
        [t.join() for t in ts]
        rc = p.wait()
        if v2:
            s.write(struct.pack("<BIB", 3, 1, rc & 255 if rc >= 0 else 128 - rc))

    def sync(s):
        P = lambda b: os.path.join(s.c.root, os.path.normpath("/" + b.decode()).lstrip("/"))
        while True:
            i, n = struct.unpack("<4sI", s.read(8))
            a = s.read(n)
            if i == b"QUIT":
                return
            if i == b"STAT":
                try:
                    q = os.stat(P(a))
                    s.write(struct.pack("<4s3I", b"STAT", q.st_mode, q.st_size & 0xFFFFFFFF, int(q.st_mtime)))
                except OSError:
                    s.write(struct.pack("<4s3I", b"STAT", 0, 0, 0))
            elif i == b"LIST":
                for e in sorted(os.scandir(P(a)), key=lambda e: e.name) if os.path.isdir(P(a)) else []:
                    q = e.stat(follow_symlinks=False)
                    nm = e.name.encode()
                    s.write(
                        struct.pack("<4s4I", b"DENT", q.st_mode, q.st_size & 0xFFFFFFFF, int(q.st_mtime), len(nm)) + nm
                    )
                s.write(struct.pack("<4s4I", b"DONE", 0, 0, 0, 0))
            elif i == b"RECV":
                try:
                    with open(P(a), "rb") as f:
                        while b := f.read(65536):
                            s.write(struct.pack("<4sI", b"DATA", len(b)) + b)
                    s.write(struct.pack("<4sI", b"DONE", 0))
                except OSError as e:
                    m = str(e.strerror).encode()
                    s.write(struct.pack("<4sI", b"FAIL", len(m)) + m)
            elif i == b"SEND":
                path, mode = a.rsplit(b",", 1)
                err = None
                f = None
                try:
                    os.makedirs(os.path.dirname(P(path)), exist_ok=True)
                    f = open(P(path), "wb")
                except OSError as e:
                    err = e.strerror.encode()
                while True:
                    j, k = struct.unpack("<4sI", s.read(8))
                    if j == b"DATA":
                        b = s.read(k)
                        f and f.write(b)
                    else:
                        break
                if f:
                    f.close()
                    os.chmod(P(path), int(mode) & 0o777)
                    os.utime(P(path), (k, k))
                s.write(struct.pack("<4sI", b"FAIL", len(err)) + err if err else struct.pack("<4sI", b"OKAY", 0))


if __name__ == "__main__":
    port, root = int(sys.argv[1]), sys.argv[2]
    auth = "--auth" in sys.argv
    prefix = sys.argv[sys.argv.index("--") + 1 :]
    L = socket.create_server(("127.0.0.1", port))
    props = {"ro.product.name": "edgekit_test", "ro.product.model": "Emulated_arm64", "ro.product.device": "qemu_arm64"}
    while True:
        k, _ = L.accept()
        k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Conn(k, root, prefix, auth, props).run, daemon=True).start()
