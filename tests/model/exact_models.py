#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write the models of tests/model/exact.c to a folder.

usage: exact_models.py DIR
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import make_model  # noqa: E402

# 256 columns for the super-blocks; a little of everything else.
SMALL = dict(embd=256, ff=256, vocab=400, ctx=2048)
ODD = dict(embd=70, heads=5, kv_heads=1, head_dim=22, ff=101, vocab=409, ctx=2048)

# Name: preset, type, types of some, changes of the shape.
MODELS = {
    "llama-q4_0": ("llama", "q4_0", "", {}),
    "llama-mixed": ("llama", "q4_k", "attn_v=q6_k,ffn_down=q5_k,ffn_up=q8_0,attn_k=f16,"
                    "output=q6_k,token_embd=q3_k", dict(bias="all")),
    "llama-odd": ("llama", "f32", "", ODD),
    "mistral-f16": ("mistral", "f16", "attn_q=bf16,ffn_up=bf16", dict(window=100)),
    "mixtral-q8_0": ("mixtral", "q8_0", "", dict(experts=6)),
    "qwen3moe-q4_k": ("qwen3moe", "q4_k", "ffn_down=iq4_nl,ffn_up=q2_k",
                      dict(experts=9, experts_used=4)),
    # experts that are no whole blocks, and others that are
    "qwen3moe-many": ("qwen3moe", "q4_k", "ffn_down=q6_k",
                      dict(experts=24, experts_used=3, layers=4)),
    "phi3-mxfp4": ("phi3-long", "mxfp4", "attn_qkv=q5_0", dict(rope_dims=24)),
    "gemma2-q5_1": ("gemma2", "q5_1", "ffn_gate=q4_1", dict(layers=2, window=70)),
    "gemma3-iq4_xs": ("gemma3", "iq4_xs", "", dict(layers=6, window=40)),
}


def main():
    out = sys.argv[1]
    for name, (preset, type_name, types, shape) in MODELS.items():
        c = make_model.Shape(preset, **dict(SMALL, **shape))
        make_model.make(os.path.join(out, name + ".gguf"), c, type_name, types)
        if name == "llama-mixed":
            make_model.make(os.path.join(out, "split.gguf"), c, type_name, types, splits=4)
    with open(os.path.join(out, "names"), "w") as f:
        f.writelines(name + "\n" for name in MODELS if name != "qwen3moe-many")
    return 0


if __name__ == "__main__":
    sys.exit(main())
