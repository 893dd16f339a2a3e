#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write synthetic GGUF models: any family, shape, tensor type and split, from a seed.

The contract: the file is valid and complete (metadata, weights, a usable tokenizer), the
same options and seed give the same bytes, and activations keep a natural size through any
number of layers, so logits are finite, spread out and sensitive to every operation.

A small model's weights are bell-shaped floats, drawn per tensor from the seed and the tensor's
name and then encoded: two files that differ in --type alone hold the same model.  In a model
of more than BIG values every matrix is instead cut from a pool of encoded blocks, slice
after slice at random, which writes gigabytes at the disk's speed in constant memory.
"""

import argparse
import fnmatch
import math
import os
import sys
import zlib

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gguf_io as g  # noqa: E402

BIG = 1 << 26          # models above this many values are cut from pools
POOL_VALUES = 1 << 20  # values of a pool; a multiple of every block size

FILE_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9,
             "q2_k": 10, "q3_k": 12, "q4_k": 15, "q5_k": 17, "q6_k": 18, "iq4_nl": 25,
             "iq4_xs": 30, "bf16": 32, "mxfp4": 38}

# What every model starts from; a preset and then the options change it.
DEFAULTS = dict(
    arch="llama", layers=2, embd=256, heads=8, kv_heads=4, head_dim=0, ff=512, vocab=512,
    ctx=512, experts=0, experts_used=0, expert_ff=0, expert_skew=0.0, tied=False, bias="", eps=1e-5,
    rope_base=10000.0, rope_dims=0, rope_scaling="none", rope_factor=4.0, rope_orig_ctx=0,
    window=0, attn_cap=50.0, final_cap=30.0, tokenizer="spm", pre="", seed=1)

_toy_moe = dict(experts=8, experts_used=2)
PRESETS = {
    "llama": dict(),
    "llama3": dict(rope_scaling="llama3", rope_factor=8.0, rope_orig_ctx=64,
                   rope_base=500000.0, tied=True, tokenizer="bpe", pre="llama-bpe"),
    "mistral": dict(kv_heads=2, head_dim=64, rope_base=1e6, window=24),
    "mixtral": dict(_toy_moe, ff=256, rope_base=1e6),
    "qwen2": dict(arch="qwen2", kv_heads=2, bias="qkv", tied=True, tokenizer="bpe",
                  pre="qwen2", rope_base=1e6, eps=1e-6),
    "qwen3": dict(arch="qwen3", head_dim=64, tied=True, tokenizer="bpe", pre="qwen2",
                  rope_base=1e6, eps=1e-6),
    "qwen3moe": dict(_toy_moe, arch="qwen3moe", head_dim=64, kv_heads=2, expert_ff=256,
                     tokenizer="bpe", pre="qwen2", rope_base=1e6, eps=1e-6, experts_used=3),
    "phi3": dict(arch="phi3", kv_heads=8),
    "phi3-long": dict(arch="phi3", kv_heads=4, rope_scaling="longrope", rope_orig_ctx=64,
                      rope_dims=24),
    # Caps far below the real 50 and 30, so that toy activations feel them.
    "gemma2": dict(arch="gemma2", layers=4, head_dim=64, kv_heads=4, tied=True, window=16,
                   eps=1e-6, attn_cap=4.0, final_cap=4.0),
    "gemma3": dict(arch="gemma3", layers=7, head_dim=64, kv_heads=2, tied=True, window=16,
                   rope_base=1e6, eps=1e-6, rope_scaling="linear", rope_factor=8.0),
    "llama-1b": dict(layers=16, embd=2048, heads=32, kv_heads=8, ff=8192, vocab=128256,
                     ctx=131072, tied=True, rope_base=500000.0, rope_scaling="llama3",
                     rope_factor=32.0, rope_orig_ctx=8192, tokenizer="bpe", pre="llama-bpe"),
    "llama-8b": dict(layers=32, embd=4096, heads=32, kv_heads=8, ff=14336, vocab=128256,
                     ctx=131072, rope_base=500000.0, rope_scaling="llama3", rope_factor=8.0,
                     rope_orig_ctx=8192, tokenizer="bpe", pre="llama-bpe"),
    "qwen3-0.6b": dict(arch="qwen3", layers=28, embd=1024, heads=16, kv_heads=8, head_dim=128,
                       ff=3072, vocab=151936, ctx=40960, tied=True, rope_base=1e6, eps=1e-6,
                       tokenizer="bpe", pre="qwen2"),
    "qwen3-30b-a3b": dict(arch="qwen3moe", layers=48, embd=2048, heads=32, kv_heads=4,
                          head_dim=128, ff=6144, expert_ff=768, experts=128, experts_used=8,
                          vocab=151936, ctx=40960, rope_base=1e6, eps=1e-6, tokenizer="bpe",
                          pre="qwen2"),
}


class Shape(argparse.Namespace):
    """The defaults, changed by a preset and by overrides; checked."""

    def __init__(self, preset=None, **over):
        values = dict(DEFAULTS)
        if preset:
            values.update(PRESETS[preset])
        for key in over:
            if key not in DEFAULTS:
                raise ValueError(f"no option {key}")
        values.update(over)
        super().__init__(**values)
        self.head_dim = self.head_dim or self.embd // self.heads
        self.rope_dims = self.rope_dims or self.head_dim
        self.expert_ff = self.expert_ff or self.ff
        if self.experts and self.arch == "llama" and self.expert_ff != self.ff:
            raise ValueError(f"--expert-ff {self.expert_ff}: Mixtral's experts are as wide as --ff")
        self.rope_orig_ctx = self.rope_orig_ctx or self.ctx
        if self.heads % self.kv_heads:
            raise ValueError(f"--heads {self.heads} is no multiple of --kv-heads {self.kv_heads}")
        if self.rope_dims % 2 or self.rope_dims > self.head_dim:
            raise ValueError(f"--rope-dims {self.rope_dims}: even, at most the head size")
        if self.experts and not 0 < self.experts_used <= self.experts:
            raise ValueError(f"--experts-used {self.experts_used} of {self.experts}")
        if self.arch == "qwen3moe" and not self.experts:
            raise ValueError("qwen3moe needs --experts")

    @property
    def gemma(self):
        return self.arch.startswith("gemma")


# ---------------------------------------------------------------------------
# Weights


def weights(c):
    """Yield (name, shape, kind, mean, deviation); kind is matrix, vector or router."""
    d, hd = c.embd, c.head_dim
    q, kv = c.heads * hd, c.kv_heads * hd
    unit = 1 / math.sqrt(d)

    def matrix(name, rows, cols, gain=1.0, experts=0):
        shape = (experts, rows, cols) if experts else (rows, cols)
        return name + ".weight", shape, "matrix", 0.0, gain / math.sqrt(cols)

    def norm(name, n, mean=1.0):
        return name + ".weight", (n,), "vector", mean, 0.1

    def bias(name, n):
        return name + ".bias", (n,), "vector", 0.0, 0.3

    # Tied embeddings are small beside what the layers add, or every token would predict
    # itself; the last norm's gain makes up for it.
    embd = 0.3 * unit if c.tied else unit if c.gemma else 1.0
    yield "token_embd.weight", (c.vocab, d), "matrix", 0.0, embd
    for i in range(c.layers):
        p = f"blk.{i}."
        yield norm(p + "attn_norm", d)
        # Queries and keys a little larger: scores that spread, so attention matters.
        if c.arch == "phi3":
            yield matrix(p + "attn_qkv", q + 2 * kv, d, 1.3)
        else:
            yield matrix(p + "attn_q", q, d, 1.5)
            yield matrix(p + "attn_k", kv, d, 1.5)
            yield matrix(p + "attn_v", kv, d)
        if c.bias in ("qkv", "all"):
            if c.arch == "phi3":
                yield bias(p + "attn_qkv", q + 2 * kv)
            else:
                yield bias(p + "attn_q", q)
                yield bias(p + "attn_k", kv)
                yield bias(p + "attn_v", kv)
        if c.arch in ("qwen3", "qwen3moe", "gemma3"):
            yield norm(p + "attn_q_norm", hd)
            yield norm(p + "attn_k_norm", hd)
        yield matrix(p + "attn_output", d, q, 1.5)
        if c.bias == "all":
            yield bias(p + "attn_output", d)
        if c.gemma:
            # Gain two: layers, not the tied embedding, decide the next token.
            yield norm(p + "post_attention_norm", d, 2.0)
        yield norm(p + "ffn_norm", d)
        if c.experts:
            yield p + "ffn_gate_inp.weight", (c.experts, d), "router", 0.0, 3 * unit
            yield matrix(p + "ffn_gate_exps", c.expert_ff, d, 1.0, c.experts)
            yield matrix(p + "ffn_down_exps", d, c.expert_ff, 1.5, c.experts)
            yield matrix(p + "ffn_up_exps", c.expert_ff, d, 1.0, c.experts)
        elif c.arch == "phi3":
            yield matrix(p + "ffn_down", d, c.ff, 1.5)
            yield matrix(p + "ffn_up", 2 * c.ff, d)
        else:
            yield matrix(p + "ffn_gate", c.ff, d)
            yield matrix(p + "ffn_down", d, c.ff, 1.5)
            yield matrix(p + "ffn_up", c.ff, d)
            if c.bias == "all" and c.arch == "llama":
                yield bias(p + "ffn_gate", c.ff)
                yield bias(p + "ffn_down", d)
                yield bias(p + "ffn_up", c.ff)
        if c.gemma:
            yield norm(p + "post_ffw_norm", d, 2.0)
    yield norm("output_norm", d, 8.0 if c.tied else 1.0)
    if not c.tied:
        yield "output.weight", (c.vocab, d), "matrix", 0.0, 2.5 * unit


def rope_tensors(c):
    """Frequency divisors, where the scaling keeps them as tensors."""
    i = np.arange(c.rope_dims // 2)
    if c.rope_scaling == "llama3":
        # Llama 3.1: wavelengths beyond the original context divided by the factor, those
        # under a quarter of it untouched, in between a mix of the frequencies.
        wave = 2 * math.pi * c.rope_base ** (2 * i / c.rope_dims)
        mix = np.clip((c.rope_orig_ctx / wave - 1) / (4 - 1), 0, 1)
        yield "rope_freqs.weight", 1 / ((1 - mix) / c.rope_factor + mix)
    elif c.rope_scaling == "longrope":
        up = i / max(len(i) - 1, 1)
        yield "rope_factors_long.weight", 1 + 7 * up ** 2
        yield "rope_factors_short.weight", 1 + 0.3 * up


def type_chooser(type_name, type_map):
    """Tensor name -> type name.  A pattern is a tensor's part (attn_v, ffn_down, output)
    or a glob over its whole name (blk.0.*); the last that matches wins."""
    rules = []
    for item in filter(None, (type_map or "").split(",")):
        pattern, _, t = item.partition("=")
        if t not in g.TYPES:
            raise ValueError(f"--type-map {item}: type {t!r} is not one of {' '.join(g.TYPES)}")
        rules.append((pattern, t))

    def choose(name):
        out = type_name
        parts = {p.removesuffix("_exps") for p in name.split(".")} | set(name.split("."))
        for pattern, t in rules:
            if pattern in parts or fnmatch.fnmatchcase(name, pattern):
                out = t
        return out
    return choose


def bell(rng, n):
    """n float32 of mean 0 and deviation 1: sums of four 16-bit integers, so that every
    version of numpy gives the same bits."""
    x = rng.bit_generator.random_raw(n).view(np.uint16).reshape(n, 4).sum(axis=1, dtype=np.int32)
    return (x - 131070).astype(np.float32) * np.float32(1 / math.sqrt((65536 ** 2 - 1) / 3))


class Source:
    """Gives tensors their data; the pools are shared among tensors."""

    def __init__(self, seed, pooled):
        self.seed, self.pooled, self.pools = seed, pooled, {}

    def rng(self, name):
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def exact(self, name, type_, shape, mean, dev):
        def pieces():
            rng = self.rng(name)
            n = math.prod(shape)
            # A fixed step, so that the numbers do not depend on the type.
            step = max(1, (1 << 18) // shape[-1]) * shape[-1]
            for i in range(0, n, step):
                x = bell(rng, min(step, n - i))
                yield type_.encode(x * np.float32(dev) + np.float32(mean))
        return pieces

    def router(self, name, type_, shape, dev, skew):
        """Rows of different lengths: experts with long ones win more often."""
        def pieces():
            length = np.exp(np.float32(skew) * bell(self.rng(name + " skew"), shape[0]))
            rows = bell(self.rng(name), math.prod(shape)).reshape(shape) * np.float32(dev)
            yield type_.encode((rows * length[:, None]).astype(np.float32).reshape(-1))
        return pieces

    def pool(self, type_, dev):
        key = (type_.name, dev)
        if key not in self.pools:
            rng = self.rng(f"pool {type_.name} {dev:.6g}")
            self.pools[key] = memoryview(type_.encode(bell(rng, POOL_VALUES) * np.float32(dev)))
        return self.pools[key]

    def cut(self, name, type_, shape, dev):
        def pieces():
            rng = self.rng(name)
            pool = self.pool(type_, dev)
            blocks = len(pool) // type_.size
            left = math.prod(shape) // type_.values
            while left:
                at = int(rng.integers(blocks // 2))
                n = min(left, int(rng.integers(blocks // 4, blocks // 2)))
                yield pool[at * type_.size:(at + n) * type_.size]
                left -= n
        return pieces

    def data(self, name, type_, shape, kind, mean, dev):
        if kind == "matrix" and self.pooled:
            return self.cut(name, type_, shape, dev)
        return self.exact(name, type_, shape, mean, dev)


# ---------------------------------------------------------------------------
# Tokenizers: small, valid, and good enough to turn English into ids and back.

WORDS = """the and to of a in was he she it said that had for they with you his on her so but
is as be were at not all up very day out one big little girl boy mom dad dog cat play happy
then there when what saw went want time once upon named like see can do no my me have them
friend good red ball tree bird car toy park house home fun new old sad some into other their
help look came could would how about over from this who will too again down water sun sky
run read write model language memory kernel token driver queue stream region""".split()


def _letters_up():
    """Endless pieces, each one letter longer than an earlier one: aa ab .. zz aaa .."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    level = list(letters)
    while True:
        level = [p + c for p in level for c in letters]
        yield from level


def _merges(space, n):
    """n pairs (left, right): the prefixes of frequent words, then letter strings."""
    out, seen = [], set()

    def add(left, right):
        if left + right not in seen and len(out) < n:
            seen.add(left + right)
            out.append((left, right))
    for word in WORDS:
        for text in (space + word, word):
            for i in range(1, len(text)):
                add(text[:i], text[i:i + 1])
    for piece in _letters_up():
        if len(out) >= n:
            return out
        add(piece[:-1], piece[-1])


def spm_tokenizer(vocab, control=()):
    """(key, type, value) of a SentencePiece-style vocabulary with byte fallback; further
    control tokens come last."""
    space = "\u2581"
    single = [space] + [chr(c) for c in range(33, 127)]
    fixed = 3 + 256 + len(single) + len(control)
    if vocab < fixed:
        raise ValueError(f"--vocab {vocab}: an SPM vocabulary needs at least {fixed}")
    merged = [a + b for a, b in _merges(space, vocab - fixed)]
    # Better scores merge first, so longer prefixes of a word come after shorter ones.
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + \
        merged + single + list(control)
    scores = [0.0] * 259 + [-float(i) for i in range(vocab - 259)]
    types = [2, 3, 3] + [6] * 256 + [1] * (vocab - 259 - len(control)) + [3] * len(control)
    pre = "tokenizer.ggml."
    return [(pre + "model", g.STR, "llama"), (pre + "pre", g.STR, "default"),
            (pre + "tokens", g.ARR, (g.STR, tokens)), (pre + "scores", g.ARR, (g.F32, scores)),
            (pre + "token_type", g.ARR, (g.I32, types)),
            (pre + "bos_token_id", g.U32, 1), (pre + "eos_token_id", g.U32, 2),
            (pre + "unknown_token_id", g.U32, 0), (pre + "add_bos_token", g.BOOL, True),
            (pre + "add_eos_token", g.BOOL, False)]


def byte_alphabet():
    """GPT-2's printable stand-ins: byte value -> character."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 256
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(extra)
            extra += 1
    return table


def bpe_tokenizer(vocab, pre_name):
    """(key, type, value) of a byte-level BPE vocabulary; two control tokens at the end."""
    if vocab < 258:
        raise ValueError(f"--vocab {vocab}: a byte-level vocabulary needs at least 258")
    alphabet = byte_alphabet()
    merges = _merges(alphabet[32], vocab - 258)
    tokens = [alphabet[b] for b in range(256)] + [a + b for a, b in merges] + \
        ["<|begin_of_text|>", "<|end_of_text|>"]
    types = [1] * (vocab - 2) + [3, 3]
    pre = "tokenizer.ggml."
    return [(pre + "model", g.STR, "gpt2"), (pre + "pre", g.STR, pre_name or "gpt-2"),
            (pre + "tokens", g.ARR, (g.STR, tokens)),
            (pre + "token_type", g.ARR, (g.I32, types)),
            (pre + "merges", g.ARR, (g.STR, [f"{a} {b}" for a, b in merges])),
            (pre + "bos_token_id", g.U32, vocab - 2), (pre + "eos_token_id", g.U32, vocab - 1),
            (pre + "add_bos_token", g.BOOL, pre_name == "llama-bpe")]


# ---------------------------------------------------------------------------
# The file


def metadata(c, type_name):
    a = c.arch + "."
    kv = [("general.architecture", g.STR, c.arch), ("general.type", g.STR, "model"),
          ("general.name", g.STR, f"synthetic {c.arch}, seed {c.seed}"),
          ("general.file_type", g.U32, FILE_TYPE[type_name]),
          ("general.quantization_version", g.U32, 2),
          (a + "block_count", g.U32, c.layers), (a + "context_length", g.U32, c.ctx),
          (a + "embedding_length", g.U32, c.embd), (a + "feed_forward_length", g.U32, c.ff),
          (a + "attention.head_count", g.U32, c.heads),
          (a + "attention.head_count_kv", g.U32, c.kv_heads),
          (a + "attention.key_length", g.U32, c.head_dim),
          (a + "attention.value_length", g.U32, c.head_dim),
          (a + "attention.layer_norm_rms_epsilon", g.F32, c.eps),
          (a + "rope.freq_base", g.F32, c.rope_base),
          (a + "rope.dimension_count", g.U32, c.rope_dims), (a + "vocab_size", g.U32, c.vocab)]
    if c.window:
        kv.append((a + "attention.sliding_window", g.U32, c.window))
    if c.experts:
        kv += [(a + "expert_count", g.U32, c.experts),
               (a + "expert_used_count", g.U32, c.experts_used)]
    if c.experts and c.arch != "llama":
        kv.append((a + "expert_feed_forward_length", g.U32, c.expert_ff))
    if c.arch == "gemma2":
        kv += [(a + "attn_logit_softcapping", g.F32, c.attn_cap),
               (a + "final_logit_softcapping", g.F32, c.final_cap)]
    if c.rope_scaling in ("linear", "yarn"):
        kv += [(a + "rope.scaling.type", g.STR, c.rope_scaling),
               (a + "rope.scaling.factor", g.F32, c.rope_factor)]
    if c.rope_scaling in ("yarn", "longrope"):
        kv.append((a + "rope.scaling.original_context_length", g.U32, c.rope_orig_ctx))
    if c.rope_scaling == "longrope":
        grow = max(c.ctx / c.rope_orig_ctx, 1)
        kv.append((a + "rope.scaling.attn_factor", g.F32,
                   math.sqrt(1 + math.log(grow) / math.log(c.rope_orig_ctx))))
    return kv


KV_TYPES = {"u8": g.U8, "i8": g.I8, "u16": g.U16, "i16": g.I16, "u32": g.U32, "i32": g.I32,
            "u64": g.U64, "i64": g.I64, "f32": g.F32, "f64": g.F64, "bool": g.BOOL, "str": g.STR}


def parse_set(text):
    """KEY=TYPE:VALUE, or KEY= to leave the key out."""
    key, eq, rest = text.partition("=")
    t, colon, v = rest.partition(":")
    if eq and not rest:
        return key, None, None
    if not eq or not colon or t not in KV_TYPES:
        raise ValueError(f"--set {text}: KEY=TYPE:VALUE with TYPE one of {' '.join(KV_TYPES)}")
    if t == "bool":
        value = {"true": True, "false": False}[v]
    elif t == "str":
        value = v
    else:
        value = float(v) if t[0] == "f" else int(v, 0)
    return key, KV_TYPES[t], value


def make(path, shape, type_name="f32", type_map=None, version=3, splits=1, alignment=32,
         sets=()):
    """Write the model; the list of files written.  `shape` is a Shape, `sets` holds
    (key, type, value) that replace metadata, with type None to remove it."""
    c = shape
    choose = type_chooser(type_name, type_map)
    source = Source(c.seed, sum(math.prod(item[1]) for item in weights(c)) > BIG)
    kv = metadata(c, type_name)
    if c.tokenizer == "spm":
        # llama.cpp looks this token up in every phi3 vocabulary.
        kv += spm_tokenizer(c.vocab, ["<|endoftext|>"] if c.arch == "phi3" else [])
    else:
        kv += bpe_tokenizer(c.vocab, c.pre)
    for key, t, v in sets:
        at = [i for i, item in enumerate(kv) if item[0] == key]
        if t is None:
            kv = [item for item in kv if item[0] != key]
        elif at:
            kv[at[0]] = (key, t, v)
        else:
            kv.append((key, t, v))
    w = g.Writer(path, version, alignment)
    for item in kv:
        w.add(*item)
    for name, values in rope_tensors(c):
        w.add_tensor(name, "f32", values.shape, values.astype(np.float32))
    for name, shape_, kind, mean, dev in weights(c):
        t = choose(name) if kind == "matrix" else "f32"
        try:
            g.TYPES[t].row_bytes(shape_[-1])
        except g.GGUFError as e:
            raise ValueError(f"{name}: {e}") from None
        if kind == "router" and c.expert_skew:
            data = source.router(name, g.TYPES[t], shape_, dev, c.expert_skew)
        else:
            data = source.data(name, g.TYPES[t], shape_, kind, mean, dev)
        w.add_tensor(name, t, shape_, data)
    return w.finish(splits)


def main():
    ap = argparse.ArgumentParser(
        description="Write a synthetic GGUF model.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="presets: " + " ".join(PRESETS) + "\n"
               "types:   " + " ".join(g.TYPES) + "\n\n"
               "A preset is changed by the options given with it.  Examples:\n"
               "  make_model.py -o toy.gguf --preset gemma2 --type q4_k\n"
               "  make_model.py -o big.gguf --preset llama-1b --type q4_0 "
               "--type-map token_embd=q6_k\n"
               "  make_model.py -o m.gguf --preset qwen3moe --splits 3 "
               "--set qwen3moe.expert_weights_norm=bool:false")
    ap.add_argument("-o", "--output", required=True, metavar="FILE")
    ap.add_argument("--preset", choices=PRESETS, metavar="NAME", help="see below")
    ap.add_argument("--type", default="f32", choices=g.TYPES, metavar="TYPE",
                    help="type of every matrix (default f32)")
    ap.add_argument("--type-map", metavar="P=TYPE,..",
                    help="other types for some: attn_v=q6_k,ffn_down=q6_k,output=q6_k or "
                         "blk.0.*=f16")
    ap.add_argument("--arch", choices=("llama", "qwen2", "qwen3", "qwen3moe", "phi3", "gemma2",
                                       "gemma3"))
    for name, text in (("layers", "number of blocks"), ("embd", "model width"),
                       ("heads", "query heads"), ("kv-heads", "key and value heads"),
                       ("head-dim", "size of a head (default embd/heads)"),
                       ("ff", "feed-forward width"), ("vocab", "vocabulary size"),
                       ("ctx", "context_length"), ("experts", "experts of a layer, 0: dense"),
                       ("experts-used", "experts for each token"),
                       ("expert-ff", "width of an expert (default ff)"),
                       ("window", "sliding window, 0: none"),
                       ("rope-dims", "dimensions that turn (default all)"),
                       ("rope-orig-ctx", "original context of the rope scaling"),
                       ("seed", "")):
        ap.add_argument("--" + name, type=int, metavar="N", help=text)
    ap.add_argument("--expert-skew", type=float, metavar="X",
                    help="routers prefer some experts: deviation of the logarithm of how much")
    ap.add_argument("--eps", type=float, metavar="X", help="epsilon of the norms")
    ap.add_argument("--attn-cap", type=float, metavar="X", help="gemma2's soft cap on scores")
    ap.add_argument("--final-cap", type=float, metavar="X", help="gemma2's soft cap on logits")
    ap.add_argument("--rope-base", type=float, metavar="X")
    ap.add_argument("--rope-scaling", choices=("none", "linear", "yarn", "llama3", "longrope"))
    ap.add_argument("--rope-factor", type=float, metavar="X")
    ap.add_argument("--tied", action=argparse.BooleanOptionalAction, default=None,
                    help="leave output.weight out: token_embd serves")
    ap.add_argument("--bias", choices=("", "qkv", "all"), help="biases on q, k, v, or on all")
    ap.add_argument("--tokenizer", choices=("spm", "bpe"))
    ap.add_argument("--pre", metavar="NAME", help="tokenizer.ggml.pre of a BPE vocabulary")
    ap.add_argument("--gguf-version", type=int, choices=(2, 3), default=3)
    ap.add_argument("--alignment", type=int, default=32, metavar="N")
    ap.add_argument("--splits", type=int, default=1, metavar="N",
                    help="write FILE-00001-of-0000N.gguf and so on")
    ap.add_argument("--set", action="append", default=[], metavar="KEY=TYPE:VALUE",
                    help="metadata to add or replace; KEY= removes it")
    a = ap.parse_args()
    over = {k: v for k, v in vars(a).items() if k in DEFAULTS and v is not None}
    paths = make(a.output, Shape(a.preset, **over), a.type, a.type_map, a.gguf_version,
                 a.splits, a.alignment, [parse_set(s) for s in a.set])
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as e:
        print(f"make_model.py: {e}", file=sys.stderr)
        sys.exit(1)
