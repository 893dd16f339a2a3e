#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The tool while each allocation and each read in turn goes wrong: the commands and the split
models that test_demo.py leaves out; see tests/tools/fail_each.py."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import fail_each  # noqa: E402
import tap  # noqa: E402

BUILD = os.path.abspath(os.environ.get("LINNET_BUILD", os.path.join(tap.ROOT, "build")))
LINNET = os.path.join(BUILD, "linnet")
# Runs of one command at the most; all of them when there is time.
MOST = None if os.environ.get("LINNET_TEST_LONG") else 60

tmp = tempfile.mkdtemp(prefix="linnet-fail-")
model = os.path.join(tmp, "m.gguf")
parts = os.path.join(tmp, "s-00001-of-00002.gguf")
text = os.path.join(tmp, "text")
COMMON = ["--memory", "1G", "-t", "2", "-m"]


def every(what, *commands):
    for command in commands:
        runs, failed, problems = fail_each.fail_each(BUILD, what, [LINNET, *command], most=MOST)
        if problems:
            raise AssertionError(" ".join(command[:1]) + ": " + "\n# ".join(problems[:8]))
        if not failed:
            raise AssertionError(" ".join(command[:1]) + f": in {runs} runs nothing failed")
        print(f"# {what}: {command[0]}: {runs} runs")


def check_allocations_of_other_commands():
    """What the demo model's test does not run."""
    every("alloc", ["logits", *COMMON, model, "--tokens", "1,5,9", "--raw"],
          ["info", "-m", model, "--json"], ["plan", "-m", model],
          ["perplexity", *COMMON, model, "-f", text, "-c", "32"],
          ["bench", "-m", model, "-p", "4", "-n", "2", "-r", "1", "-o", "json"])


def check_a_split_model():
    generate = ["run", *COMMON, parts, "-p", "Once upon", "-n", "4", "--temp", "0"]
    every("alloc", generate)
    for what in ("eio", "eof", "short", "eintr"):
        every(what, generate, ["logits", *COMMON, parts, "--tokens", "1,5,9", "--raw"])


def main():
    try:
        for splits, path in ((1, model), (2, os.path.join(tmp, "s.gguf"))):
            subprocess.run([sys.executable, os.path.join(tap.ROOT, "tests/tools/make_model.py"),
                            "-o", path, "--preset", "llama", "--embd", "64", "--heads", "2",
                            "--kv-heads", "1", "--ff", "96", "--type", "q8_0",
                            "--splits", str(splits)], stdout=subprocess.DEVNULL, check=True)
        with open(text, "w", encoding="utf-8") as f:
            f.write("Once upon a time there was a small bird. " * 20)
        return tap.run([f for name, f in globals().items() if name.startswith("check_")])
    finally:
        shutil.rmtree(tmp)


if __name__ == "__main__":
    sys.exit(main())
