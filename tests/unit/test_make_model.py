#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The generator of synthetic models: what other tests take for granted about its files.

Prints TAP; exit 0 all passed, 1 a failure, 77 nothing could run.
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP python3-numpy is not installed")
    sys.exit(77)

import gguf_io as g  # noqa: E402
import make_model  # noqa: E402
import reference  # noqa: E402
import tap  # noqa: E402

TMP = tempfile.TemporaryDirectory(prefix="linnet-models-")
IDS = [3, 77, 200, 12, 500, 41]
TOYS = [p for p in make_model.PRESETS if "-" not in p or p == "phi3-long"]


def tmp(name):
    return os.path.join(TMP.name, name)


def make(name, preset, *args, **kw):
    shape = kw.pop("shape", {})
    return make_model.make(tmp(name), make_model.Shape(preset, **shape), *args, **kw)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def check_seed():
    """The same seed gives the same bytes, another seed other weights."""
    make("a.gguf", "qwen3moe", "q4_k")
    make("b.gguf", "qwen3moe", "q4_k")
    make("c.gguf", "qwen3moe", "q4_k", shape=dict(seed=2))
    assert read(tmp("a.gguf")) == read(tmp("b.gguf"))
    a, c = g.Reader(tmp("a.gguf")), g.Reader(tmp("c.gguf"))
    assert not any(np.array_equal(t.raw(), c.tensors[n].raw()) for n, t in a.tensors.items())


def check_expert_skew():
    """With a skew, routers' rows differ in length, and nothing else is another."""
    make("a.gguf", "qwen3moe")
    make("b.gguf", "qwen3moe", shape=dict(expert_skew=0.7))
    a, b = g.Reader(tmp("a.gguf")), g.Reader(tmp("b.gguf"))
    for name, t in a.tensors.items():
        same = np.array_equal(t.raw(), b.tensors[name].raw())
        assert same == ("ffn_gate_inp" not in name), name
    def spread(r):
        rows = r.tensors["blk.0.ffn_gate_inp.weight"].raw().view(np.float32).reshape(8, -1)
        return np.log(np.linalg.norm(rows, axis=1)).std()
    assert spread(a) < 0.1 and 0.3 < spread(b) < 1.5, (spread(a), spread(b))


def check_families():
    """Every toy gives finite, spread logits, and its greedy text is not one token."""
    for preset in TOYS:
        make("a.gguf", preset)
        m = reference.Model(tmp("a.gguf"))
        y = m.logits(IDS)
        assert np.isfinite(y).all() and 0.3 < y.std() < 10, f"{preset}: {y.std()}"
        assert len(set(m.greedy(IDS, 16)[6:])) > 2, f"{preset}: {m.greedy(IDS, 16)}"


def check_every_tensor_matters():
    """A small change of any tensor changes the logits: nothing in a toy is idle."""
    for preset in TOYS:
        make("a.gguf", preset)
        m = reference.Model(tmp("a.gguf"), 512)
        want = m.logits(IDS, all=False)
        for name in list(m.gguf.tensors):
            if name.startswith("rope") or name == "token_embd.weight":
                continue  # read once, at the start
            w = m.w(name)
            keep = w.copy()
            w *= 1 + 0.2 * np.cos(np.arange(w.size)).reshape(w.shape)
            change = np.abs(m.logits(IDS, all=False) - want).max()
            assert change > 1e-3, f"{preset}: {name} changes the logits by {change:.1e}"
            w[:] = keep


def check_types():
    """One model in every type: the logits stay near those of F32, as near as the type is."""
    make("f32.gguf", "llama", "f32")
    want = reference.Model(tmp("f32.gguf")).logits(IDS)
    bound = dict(f32=0, f16=0.01, bf16=0.05, q8_0=0.05, q6_k=0.15, q5_0=0.4, q5_1=0.4, q5_k=0.4,
                 q4_0=0.8, q4_1=0.8, q4_k=0.8, iq4_nl=0.8, iq4_xs=0.8, mxfp4=1, q3_k=1.3, q2_k=3)
    for t in g.TYPES:
        make("t.gguf", "llama", t)
        r = reference.Model(tmp("t.gguf"))
        kinds = {x.type.name for x in r.gguf.tensors.values() if len(x.dims) > 1}
        assert kinds == {t}, kinds
        rms = np.sqrt(np.mean((r.logits(IDS) - want) ** 2))
        assert rms <= bound[t], f"{t}: rms error {rms:.3f}"


def check_type_map():
    """Patterns choose by a tensor's part or by its whole name; the last match wins."""
    make("a.gguf", "mixtral", "q4_0",
         "attn_v=q6_k,ffn_down=q5_k,output=q8_0,blk.1.attn_*.weight=f16")
    kinds = {n: t.type.name for n, t in g.Reader(tmp("a.gguf")).tensors.items()}
    want = {"blk.0.attn_v.weight": "q6_k", "blk.1.attn_v.weight": "f16",
            "blk.0.ffn_down_exps.weight": "q5_k", "blk.0.attn_output.weight": "q4_0",
            "output.weight": "q8_0", "token_embd.weight": "q4_0", "blk.1.attn_norm.weight": "f32",
            "blk.0.ffn_gate_inp.weight": "f32", "output_norm.weight": "f32"}
    for name, t in want.items():
        assert kinds[name] == t, f"{name}: {kinds[name]}"


def check_containers():
    """Version 2, another alignment and three files hold the model that one file holds."""
    make("one.gguf", "phi3", "q4_k")
    want = reference.Model(tmp("one.gguf")).logits(IDS)
    for kw in (dict(version=2), dict(alignment=256), dict(splits=3), dict(splits=2, alignment=64)):
        paths = make("other.gguf", "phi3", "q4_k", **kw)
        assert len(paths) == kw.get("splits", 1)
        r = reference.Model(paths[0])
        assert r.gguf.version == kw.get("version", 3)
        assert np.array_equal(r.logits(IDS), want), kw
    sizes = [os.path.getsize(p) for p in make("three.gguf", "phi3", "f32", splits=3)]
    assert max(sizes) < 2 * min(sizes), sizes


def check_pools():
    """Large models are cut from pools: still of natural size, still decided by the seed."""
    big, make_model.BIG = make_model.BIG, 1000
    try:
        for t in ("q4_0", "q6_k", "f16"):
            make("a.gguf", "llama", t)
            make("b.gguf", "llama", t)
            assert read(tmp("a.gguf")) == read(tmp("b.gguf"))
            y = reference.Model(tmp("a.gguf")).logits(IDS)
            assert np.isfinite(y).all() and 1 < y.std() < 5, f"{t}: {y.std()}"
            x = g.Reader(tmp("a.gguf")).tensors
            assert not np.array_equal(x["blk.0.ffn_up.weight"].raw(),
                                      x["blk.1.ffn_up.weight"].raw())
    finally:
        make_model.BIG = big


def check_tokenizers():
    """Vocabularies have no duplicates, and every piece can be built from smaller ones."""
    for preset, vocab in (("llama", 354), ("llama", 5000), ("phi3", 600), ("llama3", 258),
                          ("qwen2", 40000)):
        make("a.gguf", preset, shape=dict(vocab=vocab, embd=32, ff=32, heads=2, kv_heads=2))
        kv = g.Reader(tmp("a.gguf")).kv
        tokens, kinds = kv["tokenizer.ggml.tokens"], kv["tokenizer.ggml.token_type"]
        assert len(tokens) == len(kinds) == vocab == len(set(tokens)), preset
        known = {s for s, k in zip(tokens, kinds) if k == 1}
        if kv["tokenizer.ggml.model"] == "llama":
            assert len(kv["tokenizer.ggml.scores"]) == vocab
            assert sum(k == 6 for k in kinds) == 256
            for s in known:
                assert len(s) == 1 or any(s[:i] in known and s[i:] in known
                                          for i in range(1, len(s))), s
        else:
            made = {s for s in known if len(s) == 1}
            assert len(made) == 256
            for pair in kv["tokenizer.ggml.merges"]:
                a, b = pair.split(" ")
                assert a in made and b in made, pair
                made.add(a + b)
            assert made == known


def check_options():
    """--set adds, replaces and removes; what cannot be made is refused by name."""
    tool = os.path.join(tap.ROOT, "tests", "tools", "make_model.py")

    def run(*args):
        r = subprocess.run([sys.executable, tool, "-o", tmp("o.gguf"), *args],
                           capture_output=True, text=True)
        return r.returncode, r.stdout + r.stderr
    code, out = run("--preset", "llama", "--set", "llama.rope.freq_base=f32:5e5",
                    "--set", "new.key=str:a=b:c", "--set", "general.name=")
    assert code == 0, out
    kv = g.Reader(tmp("o.gguf")).kv
    assert kv["llama.rope.freq_base"] == 5e5 and kv["new.key"] == "a=b:c"
    assert "general.name" not in kv
    for word, *args in (("kv-heads", "--kv-heads", "3"), ("q4_k", "--embd", "64", "--type", "q4_k"),
                        ("vocab", "--vocab", "300"), ("rope-dims", "--rope-dims", "7"),
                        ("q9", "--type-map", "output=q9"), ("--set", "--set", "a=u99:1"),
                        ("experts-used", "--experts", "4", "--experts-used", "5")):
        code, out = run(*args)
        assert code == 1 and word in out, f"{args}: {code} {out}"


if __name__ == "__main__":
    sys.exit(tap.run([check_seed, check_families, check_every_tensor_matters, check_types,
                      check_type_map, check_containers, check_pools, check_tokenizers,
                      check_options]))
