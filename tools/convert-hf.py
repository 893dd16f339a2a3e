#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Convert a Hugging Face model directory to GGUF.

The contract: DIR holds config.json, tokenizer.json and model.safetensors (or its shards and
index); out comes one GGUF file with every weight, GGUF's metadata and the tokenizer, or an
error that names the file, the field and the value.  Nothing in DIR is executed or trusted.

Takes the architectures that differ from Llama in names and biases only: llama, mistral,
qwen2, qwen3.  Matrices are stored as --type says, vectors as F32.  Matrices that GPTQ or AWQ
has packed are stored in the smallest GGUF type that holds the same numbers, and as --type
says where there is none.  Needs python3-numpy.
"""

import argparse
import json
import math
import os
import re
import sys

import numpy as np

TOOLS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [TOOLS, os.path.join(os.path.dirname(TOOLS), "tests", "tools")]
import gguf_io as g  # noqa: E402
import hf_packed  # noqa: E402


class Refused(ValueError):
    """The input breaks its format or asks for something not supported."""


# ---------------------------------------------------------------------------
# safetensors: u64 header length, a JSON header, then the tensors' bytes

MAX_HEADER = 100 << 20
DTYPES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I32": 4}


def _no_duplicates(pairs):
    out = {}
    for key, value in pairs:
        if key in out:
            raise Refused(f"key {key!r} twice")
        out[key] = value
    return out


def _count(v):
    return isinstance(v, int) and not isinstance(v, bool) and v >= 0


class Safetensors:
    """One file; names maps a tensor to (dtype, shape, begin, end)."""

    def __init__(self, path):
        self.path, self.names = path, {}
        size = os.path.getsize(path)
        if size < 8:
            raise Refused(f"{path}: {size} bytes, too short for a header")
        self.data = np.memmap(path, np.uint8, "r")
        n = int(self.data[:8].view("<u8")[0])
        if n > MAX_HEADER or n > size - 8:
            raise Refused(f"{path}: header length {n} in a file of {size} bytes")
        try:
            header = json.loads(bytes(self.data[8:8 + n]), object_pairs_hook=_no_duplicates)
        except RecursionError:
            raise Refused(f"{path}: header nests too deep") from None
        except ValueError as e:
            raise Refused(f"{path}: header: {e}") from None
        if not isinstance(header, dict):
            raise Refused(f"{path}: header is no object")
        self.data = self.data[8 + n:]
        header.pop("__metadata__", None)
        for name, info in header.items():
            self.names[name] = self._check(name, info)
        at = 0
        for name, (_, _, begin, end) in sorted(self.names.items(), key=lambda i: i[1][2:]):
            if begin != at:
                raise Refused(f"{path}: {name}: data_offsets begin at {begin}, expected {at}")
            at = end
        if at != len(self.data):
            raise Refused(f"{path}: tensors cover {at} of {len(self.data)} data bytes")

    def _check(self, name, info):
        where = f"{self.path}: {name}"
        if not isinstance(info, dict):
            raise Refused(f"{where}: no object")
        dtype, shape, span = (info.get(k) for k in ("dtype", "shape", "data_offsets"))
        if dtype not in DTYPES:
            raise Refused(f"{where}: dtype {dtype!r} is not one of {' '.join(DTYPES)}")
        if not isinstance(shape, list) or len(shape) > 4 or not all(map(_count, shape)):
            raise Refused(f"{where}: shape {shape!r}")
        if not isinstance(span, list) or len(span) != 2 or not all(map(_count, span)) or \
                not span[0] <= span[1] <= len(self.data):
            raise Refused(f"{where}: data_offsets {span!r} of {len(self.data)} bytes")
        if span[1] - span[0] != math.prod(shape) * DTYPES[dtype]:
            raise Refused(f"{where}: {span[1] - span[0]} bytes for {shape} of {dtype}")
        return dtype, tuple(shape), span[0], span[1]

    def array(self, name):
        dtype, shape, begin, end = self.names[name]
        raw = np.array(self.data[begin:end])  # a copy: the slice may be misaligned
        if dtype == "BF16":
            x = g.TYPES["bf16"].decode(raw)
        elif dtype == "I32":
            x = raw.view("<i4")
        else:
            x = raw.view({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).astype(np.float32)
        return x.reshape(shape)


class Weights:
    """All shards of a directory as one.  scheme, where not None, tells how matrices are
    packed: their parts are then one name, as if they were not."""

    def __init__(self, directory, scheme=None):
        index = os.path.join(directory, "model.safetensors.index.json")
        if os.path.exists(index):
            files = sorted(set(read_json(index).get("weight_map", {}).values()))
            for f in files:
                if os.path.basename(f) != f:
                    raise Refused(f"{index}: weight_map names {f!r}, which is not beside it")
        else:
            files = ["model.safetensors"]
        self.where = {}
        for f in files:
            st = Safetensors(os.path.join(directory, f))
            for name in st.names:
                if name in self.where:
                    raise Refused(f"{st.path}: {name} is in {self.where[name].path} too")
                self.where[name] = st
        self.scheme, self.packed = scheme, {}  # name -> its parts' names, by part
        for name in list(self.where) if scheme else ():
            base, _, part = name.rpartition(".")
            if part in scheme.parts:
                self.packed.setdefault(base + ".weight", {})[part] = name
        for name, parts in self.packed.items():
            if name in self.where:
                raise Refused(f"{self.path(name)}: {name} is there packed, too")
            for part, old in parts.items():
                dtype = self.where[old].names[old][0]
                if (dtype == "I32") != (part != "scales"):
                    raise Refused(f"{self.path(old)}: {old}: dtype {dtype}")
            self.shape(name)

    def names(self):
        parts = {n for p in self.packed.values() for n in p.values()}
        return [n for n in self.where if n not in parts] + list(self.packed)

    def path(self, name):
        return self.where[next(iter(self.packed.get(name, {0: name}).values()))].path

    def shape(self, name):
        if name not in self.packed:
            return self.where[name].names[name][1]
        return self._whole(name, self.scheme.shape, self.shape)

    def array(self, name):
        return self.where[name].array(name)

    def matrix(self, name):
        """A packed matrix."""
        return self._whole(name, self.scheme.matrix, self.array)

    def _whole(self, name, make, part):
        try:
            return make({k: part(n) for k, n in self.packed[name].items()})
        except ValueError as e:
            raise Refused(f"{self.path(name)}: {name}: {e}") from None


def read_json(path):
    with open(path, encoding="utf-8") as f:
        try:
            out = json.load(f, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as e:
            raise Refused(f"{path}: {e}") from None
    if not isinstance(out, dict):
        raise Refused(f"{path}: no object")
    return out


# ---------------------------------------------------------------------------
# Names, shapes and metadata

FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}

LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight":
         "output_norm.weight", "lm_head.weight": "output.weight"}


class Config:
    def __init__(self, path):
        self.path, self.json = path, read_json(path)
        kind = self.json.get("model_type")
        if kind not in FAMILIES:
            raise Refused(f"{path}: model_type {kind!r} is not one of {' '.join(FAMILIES)}")
        self.kind, self.arch = kind, FAMILIES[kind]
        act = self.get("hidden_act", str, "silu")
        if act != "silu":
            raise Refused(f"{path}: hidden_act {act!r}")
        self.embd = self.get("hidden_size", int)
        self.heads = self.get("num_attention_heads", int)
        self.kv_heads = self.get("num_key_value_heads", int, self.heads)
        self.layers = self.get("num_hidden_layers", int)
        self.vocab = self.get("vocab_size", int)
        self.ctx = self.get("max_position_embeddings", int)
        for name in ("embd", "heads", "kv_heads", "layers", "vocab", "ctx"):
            if getattr(self, name) <= 0:
                raise Refused(f"{path}: {name} {getattr(self, name)}")
        self.head_dim = self.get("head_dim", int, self.embd // self.heads)
        if self.head_dim <= 0 or self.head_dim % 2 or self.heads % self.kv_heads:
            raise Refused(f"{path}: {self.heads} heads of {self.head_dim}, "
                          f"{self.kv_heads} key/value heads")
        rope = self.json.get("rope_parameters") or {}
        self.rope_base = float(rope.get("rope_theta", self.json.get("rope_theta", 10000.0)))
        self.rope = self.json.get("rope_scaling") or rope
        self.tied = self.get("tie_word_embeddings", bool, False)
        quant = self.get("quantization_config", dict, None)
        self.scheme = None if quant is None else hf_packed.Scheme(path, quant)

    def get(self, key, kind, *default):
        v = self.json.get(key)
        if v is None and default:
            return default[0]
        if not isinstance(v, kind) or (kind is int and isinstance(v, bool)):
            raise Refused(f"{self.path}: {key} is {v!r}")
        return v


def gguf_name(name, layers):
    if name in WHOLE:
        return WHOLE[name]
    m = re.fullmatch(r"model\.layers\.(0|[1-9]\d{0,5})\.(.+)\.(weight|bias)", name)
    if m and m[2] in LAYER and int(m[1]) < layers:
        return f"blk.{m[1]}.{LAYER[m[2]]}.{m[3]}"
    return None


def interleave(rows, heads):
    """Which row goes where, from halves of each head to pairs: GGUF's llama turns neighbours."""
    return np.arange(rows).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def expected_shapes(c, names):
    """What the shapes must be, for the names whose shapes the configuration fixes."""
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    ff = c.get("intermediate_size", int)
    rows = {"attn_q": (q, c.embd), "attn_k": (kv, c.embd), "attn_v": (kv, c.embd),
            "attn_output": (c.embd, q), "ffn_gate": (ff, c.embd), "ffn_up": (ff, c.embd),
            "ffn_down": (c.embd, ff), "attn_norm": (c.embd,), "ffn_norm": (c.embd,),
            "attn_q_norm": (c.head_dim,), "attn_k_norm": (c.head_dim,)}
    whole = {"token_embd": (c.vocab, c.embd), "output": (c.vocab, c.embd),
             "output_norm": (c.embd,)}
    for name in names:
        parts = name.split(".")
        shape = rows[parts[2]] if parts[0] == "blk" else whole[parts[0]]
        yield name, shape if parts[-1] == "weight" else shape[:1]


def rope_metadata(c, w):
    s = c.rope
    kind = s.get("rope_type", s.get("type", "default"))
    a = c.arch + ".rope.scaling."
    if kind == "default":
        return
    factor = float(s.get("factor", 1))
    if kind == "linear":
        w.add(a + "type", g.STR, "linear")
        w.add(a + "factor", g.F32, factor)
    elif kind == "yarn":
        if "attention_factor" in s:
            raise Refused(f"{c.path}: rope_scaling.attention_factor {s['attention_factor']}")
        w.add(a + "type", g.STR, "yarn")
        w.add(a + "factor", g.F32, factor)
        w.add(a + "original_context_length", g.U32,
              int(s.get("original_max_position_embeddings", c.ctx)))
        for beta in ("beta_fast", "beta_slow"):
            if beta in s:
                w.add(a + "yarn_" + beta, g.F32, float(s[beta]))
    elif kind == "llama3" and c.arch == "llama":
        lo, hi = float(s["low_freq_factor"]), float(s["high_freq_factor"])
        wave = 2 * math.pi * c.rope_base ** (np.arange(0, c.head_dim, 2) / c.head_dim)
        mix = (s["original_max_position_embeddings"] / wave - lo) / (hi - lo)
        mix = np.clip(mix, 0, 1)
        w.add_tensor("rope_freqs.weight", "f32", wave.shape,
                     (1 / ((1 - mix) / factor + mix)).astype(np.float32))
    else:
        raise Refused(f"{c.path}: rope_scaling type {kind!r} for {c.kind}")


# ---------------------------------------------------------------------------
# Tokenizers.  A pre-tokenizer is known by the expression that tokenizer.json spells out.

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {_LETTERS + r"\p{N}{1,3}" + _REST: "llama-bpe", _LETTERS + r"\p{N}" + _REST: "qwen2"}
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_REST = _REST.replace(r"[\r\n]*|", r"[\r\n/]*|", 1)
for _name, _end, _digits in (("tekken", "", ""), ("gpt-4o", _LETTERS[:_LETTERS.index("|[")] + "?",
                                                  "{1,3}")):
    SPLITS[f"{_LEAD}{_UPPER}*{_LOWER}+{_end}|{_LEAD}{_UPPER}+{_LOWER}*{_end}|" +
           r"\p{N}" + _digits + _REST] = _name


def steps_of(t, key, parts):
    """The steps of a part of tokenizer.json: one or a sequence of them, or none."""
    one = t.get(key) or {}
    return one.get(parts, []) if one.get("type") == "Sequence" else [one]


def pre_tokenizer(t, path):
    """GGUF's name for tokenizer.json's pre_tokenizer."""
    steps = steps_of(t, "pre_tokenizer", "pretokenizers")
    kinds = [s.get("type") for s in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"]:
        name = SPLITS.get(steps[0].get("pattern", {}).get("Regex"))
        if name:
            return name
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    raise Refused(f"{path}: pre_tokenizer {kinds} is not known; name it with --pre")


def prepends_space(t):
    """Whether a text gets a space before it: transformers has written that in two ways."""
    if any(n.get("type") == "Prepend" for n in steps_of(t, "normalizer", "normalizers")):
        return True
    return any(p.get("type") == "Metaspace" and
               p.get("prepend_scheme", "always" if p.get("add_prefix_space", True) else "never")
               != "never" for p in steps_of(t, "pre_tokenizer", "pretokenizers"))


def adds_token(t, text, at):
    """Whether the post-processor adds this token at the start (0) or the end (-1) of a text;
    None: there is none to tell."""
    steps = steps_of(t, "post_processor", "processors")
    singles = [s["single"] for s in steps if s.get("type") == "TemplateProcessing"]
    if not any(s.get("type") for s in steps):
        return None
    return any(s and s[at].get("SpecialToken", {}).get("id") == text for s in singles)


def chat_template(directory, extra):
    """The model's template for chats: a file of its own, or in tokenizer_config.json as a text
    or as a list of named ones."""
    path = os.path.join(directory, "chat_template.jinja")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            return f.read()
    v = extra.get("chat_template")
    if isinstance(v, list):
        v = {e["name"]: e["template"] for e in v}.get("default")
    return v if isinstance(v, str) else None


def tokenizer_metadata(directory, c, w, pre_name):
    path = os.path.join(directory, "tokenizer.json")
    t = read_json(path)
    model = t.get("model", {})
    if model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise Refused(f"{path}: model.type {model.get('type')!r}, only BPE is supported")
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ", 1))
              for m in model.get("merges", [])]
    if any(len(m) != 2 for m in merges):
        raise Refused(f"{path}: model.merges has an entry that is no pair")

    pieces, kinds = [None] * c.vocab, [1] * c.vocab
    added = {e["id"]: e for e in t.get("added_tokens", [])}
    entries = list(model["vocab"].items()) + [(e["content"], i) for i, e in added.items()]
    for piece, i in entries:
        if not _count(i) or i >= c.vocab:
            raise Refused(f"{path}: token {piece!r} has id {i}, vocab_size is {c.vocab}")
        if pieces[i] not in (None, piece):
            raise Refused(f"{path}: id {i} is both {pieces[i]!r} and {piece!r}")
        pieces[i] = piece
    for i, e in added.items():
        kinds[i] = 3 if e.get("special") else 4
    for i, piece in enumerate(pieces):
        if piece is None:
            pieces[i], kinds[i] = f"[PAD{i}]", 5

    p = "tokenizer.ggml."
    if model.get("byte_fallback"):
        # SentencePiece as BPE: the rank of the merge that makes a piece is its score.
        kinds = [6 if k == 1 and re.fullmatch("<0x[0-9A-F]{2}>", s) else k
                 for k, s in zip(kinds, pieces)]
        rank = {}
        for i, (a, b) in enumerate(merges):
            rank.setdefault(a + b, -float(i))
        w.add(p + "model", g.STR, "llama")
        w.add(p + "pre", g.STR, "default")
        w.add(p + "scores", g.ARR, (g.F32, [rank.get(s, -1e4) for s in pieces]))
        w.add(p + "add_space_prefix", g.BOOL, prepends_space(t))
    else:
        w.add(p + "model", g.STR, "gpt2")
        w.add(p + "pre", g.STR, pre_name or pre_tokenizer(t, path))
        w.add(p + "merges", g.ARR, (g.STR, [f"{a} {b}" for a, b in merges]))
    w.add(p + "tokens", g.ARR, (g.STR, pieces))
    w.add(p + "token_type", g.ARR, (g.I32, kinds))

    extra = os.path.join(directory, "tokenizer_config.json")
    extra = read_json(extra) if os.path.exists(extra) else {}
    ids, special = {s: i for i, s in enumerate(pieces)}, {}
    for key, name in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"),
                      ("pad_token", "padding")):
        v = extra.get(key)
        v = v.get("content") if isinstance(v, dict) else v
        v = ids.get(v, c.json.get(key + "_id"))
        v = v[0] if isinstance(v, list) and v else v
        if v is not None:
            if not _count(v) or v >= c.vocab:
                raise Refused(f"{path}: {key} {v!r}")
            special[name] = v
            w.add(f"{p}{name}_token_id", g.U32, v)
    for key, at in (("bos", 0), ("eos", -1)):
        v = extra.get(f"add_{key}_token")
        if not isinstance(v, bool) and key in special:
            v = adds_token(t, pieces[special[key]], at)
        if isinstance(v, bool):
            w.add(f"{p}add_{key}_token", g.BOOL, v)
    template = chat_template(directory, extra)
    if template is not None:
        w.add("tokenizer.chat_template", g.STR, template)


def encoded(c, src, name, old, type_, exact):
    """A function that yields the tensor's bytes when the writer wants them."""
    part = name.split(".")[-2]
    heads = {"attn_q": c.heads, "attn_k": c.kv_heads}.get(part) if c.arch == "llama" else None

    def pieces():
        shape = src.shape(old)
        order = interleave(shape[0], heads) if heads else slice(None)
        step = max(1, (1 << 20) // shape[-1])
        if old in src.packed:
            x = src.matrix(old).reorder(order)
            for i in range(0, shape[0], step):
                yield x.blocks(type_.name, i, i + step) if exact else \
                    type_.encode(x.values(i, i + step))
        else:
            x = src.array(old)[order].reshape(-1, shape[-1])
            for i in range(0, len(x), step):
                yield type_.encode(x[i:i + step])
    return pieces


TYPE_CHOICES = ("f32", "f16", "q8_0", "bf16")
FILE_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q5_0": 8, "bf16": 32}


def convert(directory, out, type_name="f32", pre_name=None):
    c = Config(os.path.join(directory, "config.json"))
    src = Weights(directory, c.scheme)
    a, w = c.arch + ".", g.Writer(out)
    w.add("general.architecture", g.STR, c.arch)
    w.add("general.type", g.STR, "model")
    w.add("general.name", g.STR, os.path.basename(os.path.abspath(directory)))
    w.add("general.quantization_version", g.U32, 2)
    for key, v in (("block_count", c.layers), ("context_length", c.ctx),
                   ("embedding_length", c.embd), ("vocab_size", c.vocab),
                   ("feed_forward_length", c.get("intermediate_size", int)),
                   ("attention.head_count", c.heads), ("attention.head_count_kv", c.kv_heads),
                   ("rope.dimension_count", c.head_dim)):
        w.add(a + key, g.U32, v)
    if c.head_dim * c.heads != c.embd:
        w.add(a + "attention.key_length", g.U32, c.head_dim)
        w.add(a + "attention.value_length", g.U32, c.head_dim)
    window = c.json.get("sliding_window")
    if c.kind == "mistral" and _count(window) and 0 < window < c.ctx:
        w.add(a + "attention.sliding_window", g.U32, window)
    w.add(a + "rope.freq_base", g.F32, c.rope_base)
    w.add(a + "attention.layer_norm_rms_epsilon", g.F32, c.get("rms_norm_eps", float))
    rope_metadata(c, w)
    tokenizer_metadata(directory, c, w, pre_name)

    names = {}
    for name in src.names():
        if name.endswith("rotary_emb.inv_freq"):
            continue  # derived from rope_theta; older files carry it
        if name[:-len("bias")] + "weight" in src.packed and name.endswith(".bias") and \
                c.arch != "qwen2" and not src.array(name).any():
            continue  # AutoGPTQ writes zeros where the model has no bias
        new = gguf_name(name, c.layers)
        if new is None:
            raise Refused(f"{src.path(name)}: tensor {name} has no place in "
                          f"{c.arch} with {c.layers} layers")
        names[new] = name
    # Tied weights are stored once, under either name.
    if "token_embd.weight" not in names and c.tied and "output.weight" in names:
        names["token_embd.weight"] = names.pop("output.weight")
    elif c.tied:
        names.pop("output.weight", None)
    need = ["token_embd.weight", "output_norm.weight"] + \
        ([] if c.tied else ["output.weight"]) + \
        [f"blk.{i}.{LAYER[k]}.weight" for i in range(c.layers) for k in LAYER
         if not k.endswith(("q_norm", "k_norm")) or c.arch == "qwen3"]
    for name in need:
        if name not in names:
            raise Refused(f"{directory}: no tensor for {name}")
    for name, shape in expected_shapes(c, names):
        got = src.shape(names[name])
        if got != shape:
            raise Refused(f"{directory}: {names[name]} is {list(got)}, expected {list(shape)}")

    notes, values = [], {}
    for name, old in sorted(names.items()):
        shape = src.shape(old)
        exact = src.matrix(old).exact_type() if old in src.packed else None
        t = g.TYPES[exact or (type_name if len(shape) > 1 else "f32")]
        if shape[-1] % t.values:
            notes.append(f"{name}: rows do not divide into {t.name} blocks, kept as f16")
            t = g.TYPES["f16"]
        elif old in src.packed and not exact:
            notes.append(f"{name}: no type holds its groups, unpacked to {t.name}")
        values[t.name] = values.get(t.name, 0) + math.prod(shape)
        w.add_tensor(name, t.name, shape, encoded(c, src, name, old, t, exact))
    w.add("general.file_type", g.U32, FILE_TYPE[max(values, key=values.get)])
    w.finish()
    return notes


def main():
    ap = argparse.ArgumentParser(
        description="Convert a Hugging Face model directory (safetensors, also with matrices "
        "packed by GPTQ or AWQ) to GGUF.",
        epilog="model types: " + " ".join(FAMILIES))
    ap.add_argument("directory", metavar="DIR")
    ap.add_argument("-o", "--output", required=True, metavar="FILE")
    ap.add_argument("--type", choices=TYPE_CHOICES, default="f32",
                    help="type of the matrices that are not packed (default f32)")
    ap.add_argument("--pre", metavar="NAME",
                    help="tokenizer.ggml.pre, where tokenizer.json's expression is not known")
    a = ap.parse_args()
    for note in convert(a.directory, a.output, a.type, a.pre):
        print(f"convert-hf.py: {note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as e:
        print(f"convert-hf.py: {e}", file=sys.stderr)
        sys.exit(1)
