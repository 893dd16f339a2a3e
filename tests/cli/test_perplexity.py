#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""linnet perplexity against the float64 reference: within 0.1 %, on the same tokens.

Prints TAP; exit 0 all passed, 1 a failure, 77 nothing could run.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
try:
    import numpy  # noqa: F401
except ImportError:
    print("1..0 # SKIP python3-numpy is not installed")
    sys.exit(77)

import reference  # noqa: E402
import tap  # noqa: E402

LINNET = os.path.join(os.environ.get("LINNET_BUILD") or os.path.join(tap.ROOT, "build"), "linnet")
DEMO = os.path.join(tap.ROOT, "tools", "demo", "linnet-demo.gguf")
TMP = tempfile.TemporaryDirectory(prefix="linnet-perplexity-")
LINE = re.compile(r"perplexity: ([0-9.]+) \+/- ([0-9.]+) over ([0-9]+) tokens")


def linnet(*args):
    p = subprocess.run([LINNET, *args], stdin=subprocess.DEVNULL, capture_output=True,
                       encoding="utf-8", timeout=600)
    assert p.returncode == 0, f"linnet {args[0]}: exit status {p.returncode}: {p.stderr[-300:]}"
    return p.stdout


def stories(n):
    with open(tap.data("text", "tinystories_1000.json"), encoding="utf-8") as f:
        texts = json.load(f)
    texts = [t if isinstance(t, str) else next(v for v in t.values() if isinstance(v, str))
             for t in texts[:n]]
    return "\n".join(texts)


def agree(model, text, n_ctx, bound):
    path = os.path.join(TMP.name, "text")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    ids = reference.read_ids(linnet("tokenize", "-m", model, "--special", "--file", path))
    want, err, n = reference.Model(model).perplexity(ids, n_ctx)
    out = linnet("perplexity", "-m", model, "-f", path, "-c", str(n_ctx), "-q")
    m = LINE.fullmatch(out.splitlines()[-1])
    assert m, out
    got, got_err, got_n = float(m[1]), float(m[2]), int(m[3])
    assert got_n == n, f"{got_n} tokens counted, not {n}"
    assert abs(got / want - 1) < bound, f"{got}, the reference says {want}"
    assert abs(got_err / err - 1) < 20 * bound, f"+/- {got_err}, the reference says {err}"


def check_stories260K():
    """F32 weights of a trained model, on the kind of text it knows."""
    agree(tap.data("stories260K", "stories260K.gguf"), stories(8), 256, 1e-3)


def check_stories260K_odd():
    """Chunks of an odd length."""
    agree(tap.data("stories260K", "stories260K.gguf"), stories(3), 97, 1e-3)


def check_tinystories_656k():
    """Q8_0 weights: products round activations, too, so the bound is wider."""
    agree(tap.data("tinystories-656k", "TinyStories-656K-Q8_0.gguf"), stories(4), 128, 1e-2)


def check_demo():
    """The demo model (Q8_0) on text in its words."""
    text = ("Once upon a time there was a little fox named Otto. He lived near a small stream. "
            "One day he went to the park with his friend. They played hide and seek. ") * 8
    agree(DEMO, text, 64, 1e-2)


def check_batch():
    """The same figure for any number of tokens in a pass and of threads."""
    path = os.path.join(TMP.name, "text")
    with open(path, "w", encoding="utf-8") as f:
        f.write("The cat sat on the mat and the dog ran to the park. " * 30)
    outs = {linnet("perplexity", "-m", DEMO, "-f", path, "-c", "64", "-q", *o)
            for o in ([], ["-b", "7"], ["-t", "1"], ["-t", "3", "-b", "64"])}
    assert len(outs) == 1, outs


sys.exit(tap.run([check_stories260K, check_stories260K_odd, check_tinystories_656k, check_demo,
                  check_batch]))
