#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The yardstick: a float64 forward pass over a GGUF model, written for clarity alone.

The contract: weights are the exact values that the file's blocks stand for, everything
after that is float64 on the whole sequence at once, with no cache and no approximation.
The mathematics is that of the models' papers and published definitions; the names, keys and
weight layouts are those of GGUF.  It shares no code with the runtime.

Families: llama (with Mistral and Mixtral), qwen2, qwen3, qwen3moe, phi3, gemma2, gemma3.

Choices that the sources leave open, so that others can make the same:
  * longrope takes the long factors when the context (--ctx, default: the model's
    context_length) is larger than rope.scaling.original_context_length.
  * attention.sliding_window counts the position itself: position i sees j with
    0 <= i - j < window.  llama and phi3 apply it in every layer, gemma2 and gemma3 by
    their pattern, the qwen families ignore it.
  * perplexity: the tokens are cut into chunks of --ctx; a rest is dropped.  Each chunk
    starts fresh, its first token replaced by BOS when the model adds one.  Position j of a
    chunk predicts token j + 1; the positions from ctx/2 to ctx - 2 count.
"""

import argparse
import json
import math
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gguf_io  # noqa: E402


class Unsupported(ValueError):
    """The model asks for something that the reference does not define."""


# What sets one family apart.  rope: which dimensions turn together; window: which layers
# slide ("all", "period N": all but each Nth); gemma: scaled embeddings and post-norms.
FAMILIES = {
    "llama": dict(rope="adjacent", window="all"),
    "qwen2": dict(rope="halves"),
    "qwen3": dict(rope="halves"),
    "qwen3moe": dict(rope="halves"),
    "phi3": dict(rope="halves", window="all"),
    "gemma2": dict(rope="halves", window=2, gemma=True, act="gelu", wide_layers=46),
    "gemma3": dict(rope="halves", window=6, gemma=True, act="gelu", wide_layers=62),
}


def silu(x):
    # exp of a non-positive number only, so that nothing overflows.
    e = np.exp(-np.abs(x))
    return x * np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Model:
    # Above this many weights the decoded matrices are not kept.
    KEEP = 200_000_000

    def __init__(self, path, n_ctx=None):
        self.gguf = gguf_io.Reader(path)
        g, p = self.gguf, self.gguf.param
        if g.arch not in FAMILIES:
            raise Unsupported(f"{path}: general.architecture {g.arch}")
        self.family = FAMILIES[g.arch]
        self.n_layer = int(p("block_count"))
        self.n_embd = int(p("embedding_length"))
        self.eps = float(p("attention.layer_norm_rms_epsilon"))
        self.n_head = self._per_layer("attention.head_count")
        self.n_head_kv = self._per_layer("attention.head_count_kv", self.n_head)
        self.d_k = int(p("attention.key_length", self.n_embd // self.n_head[0]))
        self.d_v = int(p("attention.value_length", self.n_embd // self.n_head[0]))
        self.n_train = int(p("context_length", 0))
        self.n_ctx = n_ctx or self.n_train
        weights = sum(math.prod(t.dims) for t in g.tensors.values())
        self._cache = {} if weights <= self.KEEP else None

        self.gemma = bool(self.family.get("gemma"))
        self.act = gelu_tanh if self.family.get("act") == "gelu" else silu
        if self.gemma and self.n_layer == self.family["wide_layers"]:
            # The 27B models alone scale queries by embd/heads instead of the head size.
            self.q_scale = 1 / math.sqrt(self.n_embd // self.n_head[0])
        else:
            self.q_scale = float(p("attention.scale", 0)) or 1 / math.sqrt(self.d_k)
        caps = (50.0, 30.0) if g.arch == "gemma2" else (0.0, 0.0)
        self.attn_cap = float(p("attn_logit_softcapping", caps[0])) \
            if g.arch == "gemma2" else 0.0
        self.final_cap = float(p("final_logit_softcapping", caps[1])) if self.gemma else 0.0
        self._init_window()
        self._init_rope()
        self._init_experts()

    def _per_layer(self, key, default=None):
        v = self.gguf.param(key, default)
        if isinstance(v, (list, np.ndarray)):
            return [int(x) for x in v]
        return [int(v)] * self.n_layer

    def _init_window(self):
        p = self.gguf.param
        kind = self.family.get("window")
        default = 4096 if self.gguf.arch == "gemma2" else 0
        self.window = int(p("attention.sliding_window", default)) if kind else 0
        pattern = p("attention.sliding_window_pattern", 1 if kind == "all" else kind)
        if not self.window:
            self.slides = [False] * self.n_layer
        elif isinstance(pattern, (list, np.ndarray)):
            self.slides = [bool(x) for x in pattern]
        elif kind == "all" or pattern == 0:
            self.slides = [True] * self.n_layer
        else:
            self.slides = [i % pattern < pattern - 1 for i in range(self.n_layer)]

    def _init_rope(self):
        """Inverse frequencies and the magnitude, for full and for sliding layers."""
        g, p = self.gguf, self.gguf.param
        self.n_rot = int(p("rope.dimension_count", self.d_k))
        base = float(p("rope.freq_base", 10000.0))
        kind = p("rope.scaling.type", "linear")
        factor = float(p("rope.scaling.factor", p("rope.scale_linear", 0)) or 1)
        n_orig = int(p("rope.scaling.original_context_length", self.n_train))
        i = np.arange(self.n_rot // 2, dtype=np.float64)
        plain = base ** (-2 * i / self.n_rot)

        # Per-frequency divisors: Llama 3's, or those of longrope for this context.
        name = "rope_freqs.weight"
        if name not in g.tensors:
            name = "rope_factors_long.weight" if self.n_ctx > n_orig \
                else "rope_factors_short.weight"
        if name in g.tensors and g.arch in ("llama", "phi3"):
            plain = plain / g.tensors[name].array().astype(np.float64)

        mag = float(p("rope.scaling.attn_factor", 1.0))
        if kind in ("none", "longrope"):
            inv = plain if kind == "none" else plain / factor
        elif kind == "linear":
            inv = plain / factor
        elif kind == "yarn":
            # Peng et al. 2023: frequencies that turn more than beta_fast times over the
            # original context stay, those under beta_slow are interpolated, a ramp between.
            def dim_of(turns):
                return self.n_rot * math.log(n_orig / (turns * 2 * math.pi)) \
                    / (2 * math.log(base))
            fast = float(p("rope.scaling.yarn_beta_fast", 32.0))
            slow = float(p("rope.scaling.yarn_beta_slow", 1.0))
            lo = max(math.floor(dim_of(fast)), 0)
            hi = min(math.ceil(dim_of(slow)), self.n_rot - 1)
            keep = 1 - np.clip((i - lo) / max(hi - lo, 0.001), 0, 1)
            inv = plain * keep + plain / factor * (1 - keep)
            mag *= 1 + 0.1 * math.log(factor)
        else:
            raise Unsupported(f"{g.arch}.rope.scaling.type {kind}")
        self.rope_full = (inv, mag)
        if g.arch == "gemma3":
            local = float(p("rope.freq_base_swa", 10000.0))
            self.rope_local = (local ** (-2 * i / self.n_rot), 1.0)
        else:
            self.rope_local = self.rope_full

    def _init_experts(self):
        p = self.gguf.param
        self.n_used = int(p("expert_used_count", 0))
        # Mixtral and Qwen3-MoE renormalise; the key overrides where a file has it.
        self.norm_weights = bool(p("expert_weights_norm", True))
        self.weight_scale = float(p("expert_weights_scale", 0)) or 1.0
        gating = int(p("expert_gating_func", 1))
        if gating not in (0, 1):
            raise Unsupported(f"{self.gguf.arch}.expert_gating_func {gating}")

    # -- weights --------------------------------------------------------------------------

    def has(self, name):
        return name in self.gguf.tensors

    def w(self, name):
        if self._cache is None:
            return self.gguf.tensors[name].array().astype(np.float64)
        if name not in self._cache:
            self._cache[name] = self.gguf.tensors[name].array().astype(np.float64)
        return self._cache[name]

    def expert(self, name, e):
        """One expert's matrix, without decoding the others of a large model."""
        t = self.gguf.tensors[name]
        if self._cache is not None:
            return self.w(name)[e]
        n = t.dims[1]
        return t.rows(slice(e * n, (e + 1) * n)).astype(np.float64)

    def operand(self, x, name):
        """What tensor NAME is multiplied with; a test may round it as a runtime does."""
        return x

    def linear(self, x, name):
        """x times the transpose of NAME.weight, plus NAME.bias if there is one."""
        y = self.operand(x, name + ".weight") @ self.w(name + ".weight").T
        return y + self.w(name + ".bias") if self.has(name + ".bias") else y

    def norm(self, x, name):
        y = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        return y * self.w(name + ".weight")

    # -- layers ---------------------------------------------------------------------------

    def rotate(self, x, layer):
        """x: (heads, tokens, d).  Turn the first n_rot dimensions by the position."""
        inv, mag = self.rope_local if self.slides[layer] else self.rope_full
        angle = np.arange(x.shape[1], dtype=np.float64)[:, None] * inv
        cos, sin = np.cos(angle) * mag, np.sin(angle) * mag
        n = self.n_rot
        if self.family["rope"] == "adjacent":
            first, second = slice(0, n, 2), slice(1, n, 2)
        else:
            first, second = slice(0, n // 2), slice(n // 2, n)
        a, b = x[..., first], x[..., second]
        out = x.copy()
        out[..., first] = a * cos - b * sin
        out[..., second] = a * sin + b * cos
        return out

    def attention(self, x, layer):
        pre = f"blk.{layer}."
        h, kv = self.n_head[layer], self.n_head_kv[layer]
        n = len(x)
        if self.has(pre + "attn_qkv.weight"):
            sizes = np.cumsum([h * self.d_k, kv * self.d_k])
            q, k, v = np.split(self.linear(x, pre + "attn_qkv"), sizes, axis=-1)
        else:
            q, k, v = (self.linear(x, pre + "attn_" + c) for c in "qkv")
        q, k, v = (m.reshape(n, heads, d).transpose(1, 0, 2) for m, heads, d in
                   ((q, h, self.d_k), (k, kv, self.d_k), (v, kv, self.d_v)))
        if self.has(pre + "attn_q_norm.weight"):
            q, k = self.norm(q, pre + "attn_q_norm"), self.norm(k, pre + "attn_k_norm")
        q, k = self.rotate(q, layer), self.rotate(k, layer)

        distance = np.arange(n)[:, None] - np.arange(n)[None, :]
        hidden = distance < 0
        if self.slides[layer]:
            hidden |= distance >= self.window
        out = np.empty((n, h, self.d_v))
        for i in range(h):
            j = i // (h // kv)
            s = q[i] @ k[j].T * self.q_scale
            if self.attn_cap:
                s = self.attn_cap * np.tanh(s / self.attn_cap)
            out[:, i] = softmax(np.where(hidden, -np.inf, s)) @ v[j]
        return self.linear(out.reshape(n, -1), pre + "attn_output")

    def ffn(self, x, layer):
        pre = f"blk.{layer}."
        if self.has(pre + "ffn_gate_inp.weight"):
            return self.experts(x, pre)
        if self.has(pre + "ffn_gate.weight"):
            gate, up = self.linear(x, pre + "ffn_gate"), self.linear(x, pre + "ffn_up")
        else:
            gate, up = np.split(self.linear(x, pre + "ffn_up"), 2, axis=-1)
        return self.linear(self.act(gate) * up, pre + "ffn_down")

    def experts(self, x, pre):
        """Softmax over all experts, the best n_used, renormalised among themselves."""
        p = softmax(self.linear(x, pre + "ffn_gate_inp"))
        best = np.argsort(-p, axis=-1, kind="stable")[:, :self.n_used]
        weight = np.take_along_axis(p, best, axis=-1)
        if self.norm_weights:
            weight = weight / weight.sum(axis=-1, keepdims=True)
        weight = weight * self.weight_scale
        out = np.zeros_like(x)
        for e in np.unique(best):
            token, slot = np.nonzero(best == e)
            def product(x, part):
                name = pre + f"ffn_{part}_exps.weight"
                return self.operand(x, name) @ self.expert(name, e).T
            y = self.act(product(x[token], "gate")) * product(x[token], "up")
            out[token] += product(y, "down") * weight[token, slot][:, None]
        return out

    def hidden(self, tokens):
        """Token ids -> the normalised output of the last layer, (tokens, n_embd)."""
        embd = self.gguf.tensors["token_embd.weight"]
        ids = np.asarray(tokens, np.int64)
        if len(ids) == 0 or ids.min() < 0 or ids.max() >= embd.dims[1]:
            raise ValueError(f"token ids must be in 0..{embd.dims[1] - 1}, one at least")
        x = embd.rows(ids).astype(np.float64)
        if self.gemma:
            x *= math.sqrt(self.n_embd)
        for i in range(self.n_layer):
            pre = f"blk.{i}."
            y = self.attention(self.norm(x, pre + "attn_norm"), i)
            x = x + (self.norm(y, pre + "post_attention_norm") if self.gemma else y)
            y = self.ffn(self.norm(x, pre + "ffn_norm"), i)
            x = x + (self.norm(y, pre + "post_ffw_norm") if self.gemma else y)
        return self.norm(x, "output_norm")

    def logits(self, tokens, all=True):
        """(tokens, vocabulary) float64; only the last position's row unless all."""
        x = self.hidden(tokens)
        name = "output" if self.has("output.weight") else "token_embd"
        y = self.linear(x if all else x[-1:], name)
        return self.final_cap * np.tanh(y / self.final_cap) if self.final_cap else y

    # -- text -----------------------------------------------------------------------------

    def adds_bos(self):
        kv = self.gguf.kv
        if "tokenizer.ggml.add_bos_token" in kv:
            return bool(kv["tokenizer.ggml.add_bos_token"])
        return kv.get("tokenizer.ggml.model") == "llama" or \
            kv.get("tokenizer.ggml.pre") in ("llama3", "llama-v3", "llama-bpe")

    def greedy(self, tokens, n):
        tokens = list(tokens)
        for _ in range(n):
            tokens.append(int(self.logits(tokens, all=False)[0].argmax()))
        return tokens

    def perplexity(self, tokens, n_ctx, progress=None):
        """(perplexity, its standard error, tokens counted), as the header defines it."""
        bos = int(self.gguf.get("tokenizer.ggml.bos_token_id", 1))
        nll = []
        n_chunk = len(tokens) // n_ctx
        if n_chunk == 0:
            raise ValueError(f"{len(tokens)} tokens do not fill one chunk of {n_ctx}")
        for c in range(n_chunk):
            chunk = np.array(tokens[c * n_ctx:(c + 1) * n_ctx], np.int64)
            if self.adds_bos():
                chunk[0] = bos
            first = n_ctx // 2
            y = self.logits(chunk)[first:n_ctx - 1]
            top = y.max(axis=-1)
            log_sum = top + np.log(np.exp(y - top[:, None]).sum(axis=-1))
            nll.append(log_sum - y[np.arange(len(y)), chunk[first + 1:]])
            if progress:
                progress(c + 1, n_chunk, math.exp(np.concatenate(nll).mean()))
        nll = np.concatenate(nll)
        ppl = math.exp(nll.mean())
        err = ppl * math.sqrt(max(nll.var(), 0) / (len(nll) - 1)) if len(nll) > 1 else 0.0
        return ppl, err, len(nll)


def detokenize(gguf, ids):
    """SentencePiece-style pieces -> bytes; the space that starts the text is kept."""
    pieces = gguf.kv["tokenizer.ggml.tokens"]
    kinds = gguf.kv["tokenizer.ggml.token_type"]
    out = b""
    for i in ids:
        if kinds[i] == 6:
            out += bytes([int(pieces[i][3:5], 16)])
        elif kinds[i] != 3:
            out += pieces[i].replace("\u2581", " ").encode("utf-8", "surrogateescape")
    return out


def read_ids(text):
    return [int(t) for t in text.replace(",", " ").split()]


def main():
    ap = argparse.ArgumentParser(
        description="Float64 logits and perplexity of a GGUF model.",
        epilog="Give the tokens with --tokens or --token-file (ids separated by spaces or "
               "commas). Without --raw the logits go to standard output as JSON.")
    ap.add_argument("-m", "--model", required=True, metavar="FILE")
    src = ap.add_mutually_exclusive_group(required=True)
    src.add_argument("--tokens", metavar="IDS", help="token ids: 1,5,9")
    src.add_argument("--token-file", metavar="FILE", help="token ids in a file, - for stdin")
    ap.add_argument("-c", "--ctx", type=int, metavar="N",
                    help="context size: chooses longrope's factors; the chunk of --perplexity")
    ap.add_argument("--all", action="store_true", help="logits of every position, not the last")
    ap.add_argument("--raw", metavar="OUT", help="write little-endian floats here, - for stdout")
    ap.add_argument("--f64", action="store_true", help="--raw writes float64 instead of float32")
    ap.add_argument("--greedy", type=int, metavar="N", help="print ids: these and N greedy ones")
    ap.add_argument("--perplexity", action="store_true", help="perplexity in chunks of --ctx")
    ap.add_argument("--chunks", type=int, metavar="N", help="stop --perplexity after N chunks")
    a = ap.parse_args()

    if a.tokens is not None:
        ids = read_ids(a.tokens)
    elif a.token_file == "-":
        ids = read_ids(sys.stdin.read())
    else:
        with open(a.token_file) as f:
            ids = read_ids(f.read())
    model = Model(a.model, a.ctx)
    if a.perplexity:
        n_ctx = a.ctx or min(512, model.n_train or 512)
        if a.chunks:
            ids = ids[:a.chunks * n_ctx]
        show = (lambda i, n, p: print(f"\r{i}/{n} {p:.4f}", end="\n" if i == n else "",
                                      file=sys.stderr)) if sys.stderr.isatty() else None
        ppl, err, n = model.perplexity(ids, n_ctx, show)
        print(f"perplexity: {ppl:.6f} +/- {err:.6f} over {n} tokens")
    elif a.greedy is not None:
        print(*model.greedy(ids, a.greedy))
    else:
        y = model.logits(ids, a.all)
        if a.raw:
            data = y.astype("<f8" if a.f64 else "<f4").tobytes()
            if a.raw == "-":
                sys.stdout.buffer.write(data)
            else:
                with open(a.raw, "wb") as f:
                    f.write(data)
        else:
            json.dump(y.tolist() if a.all else y[0].tolist(), sys.stdout)
            print()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, KeyError, OSError) as e:
        print(f"reference.py: {e}", file=sys.stderr)
        sys.exit(1)
