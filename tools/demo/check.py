#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Read the demo model from its GGUF file and write text with it, in plain numpy.

Contract: shares no code with train.py.  It parses the file, decodes Q8_0,
tokenizes and computes every layer by the format's definitions (interleaved
rotary pairs, grouped queries, tied output), so that a model which train.py
wrote wrongly cannot look right here.
"""

import argparse
import math
import os
import re
import struct
import sys

import numpy as np


class Gguf:
    SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
              10: "<Q", 11: "<q", 12: "<d"}

    def __init__(self, path):
        self.b, self.at = open(path, "rb").read(), 0
        magic, version, n_tensors, n_meta = self.take("<4sIQQ")
        if magic != b"GGUF" or version != 3:
            raise ValueError("%s: not GGUF version 3" % path)
        self.meta = {}
        for _ in range(n_meta):
            key = self.string()
            self.meta[key] = self.value(self.take("<I")[0])
        infos = []
        for _ in range(n_tensors):
            name, dims = self.string(), self.take("<I")[0]
            infos.append((name, self.take("<%dQ" % dims)[::-1], *self.take("<IQ")))
        align = self.meta.get("general.alignment", 32)
        base = (self.at + align - 1) // align * align
        self.tensors = {n: self.tensor(shape, kind, base + off) for n, shape, kind, off in infos}

    def take(self, fmt):
        v = struct.unpack_from(fmt, self.b, self.at)
        self.at += struct.calcsize(fmt)
        return v

    def string(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.b[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            sub, n = self.take("<IQ")
            return [self.value(sub) for _ in range(n)]
        return self.take(self.SCALAR[kind])[0]

    def tensor(self, shape, kind, off):
        n = math.prod(shape)
        if kind == 0:
            return np.frombuffer(self.b, "<f4", n, off).reshape(shape)
        if kind != 8 or shape[-1] % 32:
            raise ValueError("tensor type %d with rows of %d" % (kind, shape[-1]))
        block = np.frombuffer(self.b, np.dtype([("d", "<f2"), ("q", "i1", 32)]), n // 32, off)
        return (block["d"].astype(np.float32)[:, None] * block["q"]).reshape(shape)


class Text:
    def __init__(self, m):
        self.pieces, self.scores = m["tokenizer.ggml.tokens"], m["tokenizer.ggml.scores"]
        self.types = m["tokenizer.ggml.token_type"]
        self.ids = {p: i for i, p in enumerate(self.pieces)}

    def encode(self, text):
        s = list((" " + text).replace(" ", "\u2581")) if text else []
        while True:
            cand = [(self.scores[self.ids[a + b]], -i)
                    for i, (a, b) in enumerate(zip(s, s[1:])) if a + b in self.ids]
            if not cand:
                break
            i = -max(cand)[1]
            s[i:i + 2] = [s[i] + s[i + 1]]
        out = []
        for p in s:
            out += [self.ids[p]] if p in self.ids else \
                [self.ids["<0x%02X>" % b] for b in p.encode()]
        return out

    def decode(self, ids):
        out = b""
        for i in ids:
            if self.types[i] == 6:
                out += bytes([int(self.pieces[i][3:5], 16)])
            elif self.types[i] == 1:
                out += self.pieces[i].replace("\u2581", " ").encode()
        return out.decode("utf-8", "replace")


class Llama:
    def __init__(self, g):
        m = {k[6:]: v for k, v in g.meta.items() if k.startswith("llama.")}
        self.t, self.n = g.tensors, m["block_count"]
        self.heads, self.kv = m["attention.head_count"], m["attention.head_count_kv"]
        self.hd = m["embedding_length"] // self.heads
        self.eps, self.context = m["attention.layer_norm_rms_epsilon"], m["context_length"]
        self.freq = m["rope.freq_base"] ** (-np.arange(0, m["rope.dimension_count"], 2) / self.hd)
        self.reset()

    def reset(self):
        self.k = [np.zeros((self.context, self.kv, self.hd), np.float32) for _ in range(self.n)]
        self.v = [np.zeros((self.context, self.kv, self.hd), np.float32) for _ in range(self.n)]
        self.pos = 0

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean() + self.eps) * self.t[name]

    def rope(self, x):
        z = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * self.pos * self.freq)
        return np.stack((z.real, z.imag), -1).reshape(x.shape).astype(np.float32)

    def step(self, token):
        """Logits after one more token."""
        t, p = self.t, self.pos
        x = t["token_embd.weight"][token]
        for i in range(self.n):
            b = "blk.%d." % i
            h = self.norm(x, b + "attn_norm.weight")
            q = self.rope((t[b + "attn_q.weight"] @ h).reshape(self.heads, self.hd))
            self.k[i][p] = self.rope((t[b + "attn_k.weight"] @ h).reshape(self.kv, self.hd))
            self.v[i][p] = (t[b + "attn_v.weight"] @ h).reshape(self.kv, self.hd)
            o = []
            for j in range(self.heads):
                kv = j * self.kv // self.heads
                s = self.k[i][:p + 1, kv] @ q[j] / math.sqrt(self.hd)
                e = np.exp(s - s.max())
                o.append(e / e.sum() @ self.v[i][:p + 1, kv])
            x = x + t[b + "attn_output.weight"] @ np.concatenate(o)
            h = self.norm(x, b + "ffn_norm.weight")
            gate = t[b + "ffn_gate.weight"] @ h
            x = x + t[b + "ffn_down.weight"] @ (gate / (1 + np.exp(-gate)) *
                                                (t[b + "ffn_up.weight"] @ h))
        self.pos += 1
        return t.get("output.weight", t["token_embd.weight"]) @ self.norm(x, "output_norm.weight")


def write(model, text, meta, prompt, n, temp, rng):
    """Text after a prompt and whether the model ended it itself."""
    model.reset()
    ids = [meta["tokenizer.ggml.bos_token_id"]] + text.encode(prompt)
    for i in ids:
        logits = model.step(i)
    for _ in range(min(n, model.context - len(ids))):
        if temp == 0:
            i = int(logits.argmax())
        else:
            e = np.exp((logits - logits.max()) / temp)
            i = int(rng.choice(len(e), p=e / e.sum()))
        if i == meta["tokenizer.ggml.eos_token_id"]:
            return text.decode(ids).strip(), True
        ids.append(i)
        logits = model.step(i)
    return text.decode(ids).strip(), False


def held_out(model, text, meta, stories):
    """Nats per token and per byte of the stories, and the number of tokens; requests are given,
    not predicted."""
    loss = tokens = size = 0
    for ask, story in stories:
        model.reset()
        ids = [meta["tokenizer.ggml.bos_token_id"]] + text.encode(ask + story) + \
            [meta["tokenizer.ggml.eos_token_id"]]
        skip = 1 + len(text.encode(ask))
        for p, (i, nxt) in enumerate(zip(ids[:model.context], ids[1:])):
            logits = model.step(i).astype(np.float64)
            if p + 1 >= skip:
                loss += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[nxt]
                tokens += 1
        size += len(story.encode())
    return loss / tokens, loss / size, tokens


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(description="write text with the demo model, in numpy")
    ap.add_argument("-m", "--model", default=os.path.join(here, "linnet-demo.gguf"))
    ap.add_argument("-p", "--prompt", default="")
    ap.add_argument("-n", type=int, default=400)
    ap.add_argument("--temp", type=float, default=0.7)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--loss", type=int, metavar="N", help="mean loss of N held-out stories instead")
    ap.add_argument("--survey", type=int, metavar="N",
                    help="how sound N sampled stories are instead")
    a = ap.parse_args()
    g = Gguf(a.model)
    model, text, rng = Llama(g), Text(g.meta), np.random.default_rng(a.seed)
    if a.loss:
        import generate
        token, byte, n = held_out(model, text, g.meta, list(generate.records(2001, a.loss, 0.3)))
        print("loss %.4f nats/token, %.4f nats/byte, perplexity %.3f over %d tokens" %
              (token, byte, math.exp(token), n))
    elif a.survey:
        import generate
        names = {n for group in generate.NAMES.values() for n in group}
        ended = quotes = cast = 0
        lengths = []
        for _ in range(a.survey):
            s, end = write(model, text, g.meta, a.prompt, a.n, a.temp, rng)
            lengths.append(len(text.encode(s)))
            ended += end
            quotes += all(p.count('"') % 2 == 0 for p in s.split("\n"))
            # A story has a hero and at most one friend: a third name is a slip.
            cast += len(names & set(re.findall(r"[A-Z][a-z]+", s))) <= 2
        print("of %d stories at temperature %g: %d end, %d have paired quotes, %d keep to their "
              "two names; %.0f tokens on average" %
              (a.survey, a.temp, ended, quotes, cast, sum(lengths) / len(lengths)))
    else:
        print(write(model, text, g.meta, a.prompt, a.n, a.temp, rng)[0])


if __name__ == "__main__":
    sys.exit(main())
