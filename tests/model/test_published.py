#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The tool on trained models: published text byte for byte, and logits against float64.

stories260K: greedy-200.txt is the text of 200 greedy steps. greedy-257.txt is that of 256
steps and the line break that the program which published it prints at the end; the model's
257th token is a quotation mark, two logits ahead of the next.
TinyStories-656K: safetensors converted to F32, within 1e-4 of the largest logit (measured:
3.5e-7); the third-party Q8_0 file within 3e-2 (measured: 1.4e-2), which is what rounding
activations to eight bits costs a model so small.
"""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import tap  # noqa: E402

LINNET = os.path.join(os.environ.get("LINNET_BUILD", os.path.join(ROOT, "build")), "linnet")
IDS = [1, 5, 9, 300, 17, 2, 44, 401, 100, 7, 88, 250, 33, 12, 64, 128, 200, 19]


def linnet(*args):
    return subprocess.run([LINNET, *args], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def greedy(n, *args):
    model = tap.data("stories260K", "stories260K.gguf")
    return linnet("run", "-m", model, "-p", "", "-n", str(n), "--temp", "0", *args)


def check_greedy_200():
    with open(tap.data("stories260K", "greedy-200.txt"), "rb") as f:
        want = f.read()
    for threads in ("1", "2", "3"):
        assert greedy(200, "-t", threads) == want, f"{threads} threads"


def check_greedy_257():
    with open(tap.data("stories260K", "greedy-257.txt"), "rb") as f:
        want = f.read()
    assert want.endswith(b"\n")
    assert greedy(256) + b"\n" == want


def logits_error(path):
    import numpy as np
    import reference
    want = reference.Model(path).logits(IDS)
    raw = linnet("logits", "-m", path, "--tokens", ",".join(map(str, IDS)), "--all", "--raw")
    got = np.frombuffer(raw, "<f4").reshape(want.shape)
    return abs(got - want).max() / abs(want).max()


def check_tinystories_f32():
    source = tap.data("tinystories-656k")
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "f32.gguf")
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "convert-hf.py"), source, "-o",
                        path], check=True, stdout=subprocess.DEVNULL)
        error = logits_error(path)
    assert error <= 1e-4, error


def check_tinystories_q8_0():
    error = logits_error(tap.data("tinystories-656k", "TinyStories-656K-Q8_0.gguf"))
    assert error <= 3e-2, error


if __name__ == "__main__":
    try:
        import numpy  # noqa: F401
    except ImportError:
        print("1..0 # SKIP python3-numpy is not installed")
        sys.exit(77)
    sys.exit(tap.run([f for name, f in list(globals().items()) if name.startswith("check_")]))
