import sys,time,numpy as np
sys.path.insert(0,"tests")
import pytest
from edgekit import inspection
from edgekit.errors import *
def test_x(tiny,tiny_float,tmp_path):
  for seed in (1,):
    generator = np.random.default_rng(seed)
    artifact = (tiny, tiny_float)[seed % 2]
    content = artifact.path.read_bytes()
    end = content.index(b"PK\x03\x04")
    path = tmp_path / "damaged.tflite"
    for k in range(75):
        damaged = bytearray(content)
        length = int(generator.choice([1, 1, 2, 4, 4, 16]))
        start = int(generator.integers(8, end - length))
        new = generator.integers(0, 256, length, np.uint8) if generator.random() < 0.7 else np.full(length, 255, np.uint8)
        damaged[start : start + length] = new.tobytes()
        path.write_bytes(damaged)
        t=time.time()
        try: r=inspection.inspect(path); s="ok"
        except Exception as e: s=repr(e)
        d=time.time()-t
        if d>.5: print(seed,k,start,length,new,round(d,1),s[:300]); open(f"/tmp/w/slow{k}.tflite","wb").write(damaged)
