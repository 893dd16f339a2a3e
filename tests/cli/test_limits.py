#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Budgets against what the kernel counts: runs in control groups whose limit is the budget.

For models of several families, at the least memory that their plan names and above it: the
text of a run without a limit, a group whose own maximum stays within the budget, nobody killed,
and a run that does what "linnet plan" says. Less than the least is refused.

Prints TAP; exit 0 all passed, 1 a failure, 77 nothing could run.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
try:
    import numpy  # noqa: F401
except ImportError:
    print("1..0 # SKIP python3-numpy, which makes the models, is not installed")
    sys.exit(77)

import tap  # noqa: E402

LINNET = os.path.join(os.environ.get("LINNET_BUILD") or os.path.join(tap.ROOT, "build"), "linnet")
TMP = tempfile.TemporaryDirectory(prefix="linnet-limits-", dir="/var/tmp")
PROMPT = "the little dog said so and the cat ran away " * 6


class Group:
    """A control group with a limit on memory; of version 2, or of version 1."""

    def __init__(self, limit):
        v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        self.dir = "/sys/fs/cgroup/" + ("" if v2 else "memory/") + f"linnet-limits.{os.getpid()}"
        self.peak_name = "memory.peak" if v2 else "memory.max_usage_in_bytes"
        self.events_name = "memory.events" if v2 else "memory.oom_control"
        try:
            if v2:
                with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as f:
                    f.write("+memory")
            os.mkdir(self.dir)
        except OSError as e:
            raise tap.Skip(f"control groups cannot be made ({e.strerror})") from e
        if not os.path.exists(os.path.join(self.dir, self.peak_name)):
            os.rmdir(self.dir)
            raise tap.Skip(f"the kernel has no {self.peak_name}")
        if limit:
            self.write("memory.max" if v2 else "memory.limit_in_bytes", limit)

    def write(self, name, value):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(str(value))

    def enter(self):
        self.write("cgroup.procs", os.getpid())

    def read(self, name):
        with open(os.path.join(self.dir, name)) as f:
            return f.read()

    def peak(self):
        return int(self.read(self.peak_name))

    def killed(self):
        return int(re.search(r"^oom_kill (\d+)$", self.read(self.events_name), re.M)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(100):  # a process that is gone may still be counted
            try:
                os.rmdir(self.dir)
                return
            except OSError:
                time.sleep(0.05)


def linnet(*args, group=None, status=0):
    p = subprocess.run([LINNET, *args], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=100, preexec_fn=group.enter if group else None)
    assert p.returncode == status, (
        f"linnet {' '.join(args)}: exit status {p.returncode}: {p.stderr[-300:]}")
    return p.stdout if status == 0 else p.stderr.decode()


def pss(pid):
    """The process's own part of what it has mapped, in bytes; 0: it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            found = re.search(r"^Pss: +(\d+) kB$", f.read(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def watched(*args, group):
    """As linnet(); the output, and the most of its PSS that was seen."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        p = subprocess.Popen([LINNET, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                             preexec_fn=group.enter)
        most, end = 0, time.monotonic() + 100
        while p.poll() is None:
            most = max(most, pss(p.pid))
            if time.monotonic() > end:
                p.kill()
            time.sleep(0.03)
        out.seek(0)
        err.seek(0)
        assert p.returncode == 0, (
            f"linnet {' '.join(args)}: exit status {p.returncode}: {err.read()[-300:]}")
        return out.read(), most


def plan(model, memory, *args):
    return json.loads(linnet("plan", "-m", model, "--memory", str(memory), "--json",
                             "--no-probe", *args))


def make(name, *options):
    path = os.path.join(TMP.name, name + ".gguf")
    subprocess.run([sys.executable, os.path.join(tap.ROOT, "tests/tools/make_model.py"), "-o",
                    path, *options], check=True, stdout=subprocess.DEVNULL)
    return path


def sanitized():
    if os.environ.get("LINNET_SANITIZER"):
        raise tap.Skip("sanitizers take memory of their own")


def leave_cache(path):
    """What of the file is in the page cache goes, as other groups are charged with it."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def hold(model, budget, text, args, limited=True, reading=()):
    """A run in a group keeps to the budget, to its plan, and gives the text."""
    stats = os.path.join(TMP.name, "stats")
    want = plan(model, budget, *args)
    leave_cache(model)
    with Group(budget // 4096 * 4096 if limited else 0) as group:
        out, most = watched("run", "-m", model, *args, "-p", PROMPT, "-n", "16", "--temp", "0",
                            "--ignore-eos", "-q", "--memory", str(budget), "--stats", stats,
                            *reading, group=group)
        peak, killed = group.peak(), group.killed()
    assert out == text, f"budget {budget}: another text"
    assert not killed, f"budget {budget}: {killed} were killed"
    assert peak <= budget, f"budget {budget}: the group's maximum is {peak}"
    assert 0 < most <= budget, f"budget {budget}: its PSS was {most}"
    with open(stats) as f:
        got = json.load(f)
    assert got["plan_kept"], f"budget {budget}: the plan was not kept"
    planned = (got["planned_bytes"], got["planned_pass_bytes"])
    assert planned == (want["total"], want["streamed"]), (
        f"budget {budget}: planned {planned}, linnet plan says {want['total']}, "
        f"{want['streamed']}")


def family(name, *options):
    sanitized()
    model = make(name, *options)
    args = ["-c", "256", "-b", "64"]
    whole = plan(model, "none", *args)
    least, total = whole["least"], whole["total"]
    text = linnet("run", "-m", model, *args, "-p", PROMPT, "-n", "16", "--temp", "0",
                  "--ignore-eos", "-q", "--memory", "none")
    for budget in (least, (least + total) // 2, total):
        assert plan(model, budget, *args)["least"] == least, "the least depends on the budget"
        hold(model, budget, text, args)
    why = linnet("run", "-m", model, *args, "-p", PROMPT, "-n", "1", "--memory", str(least - 1),
                 status=1)
    assert f"at least {least} are needed" in why, why
    os.unlink(model)


def check_llama():
    """Llama, its output not tied to the embeddings."""
    family("llama", "--layers", "6", "--embd", "512", "--ff", "1536", "--heads", "8",
           "--kv-heads", "2", "--vocab", "4096", "--no-tied", "--type", "q8_0")


def check_large_vocabulary():
    """Gemma 3, tied: what the logits of drafts take must not be missing."""
    family("gemma3", "--preset", "gemma3", "--layers", "4", "--embd", "256", "--ff", "768",
           "--vocab", "48000", "--type", "q6_k")


def check_mixture():
    """A mixture of experts."""
    family("moe", "--preset", "qwen3moe", "--layers", "4", "--experts", "64", "--type", "q4_k")


def check_mixed_types():
    """Gemma 2, whose matrices are of several types."""
    family("gemma2", "--preset", "gemma2", "--layers", "6", "--embd", "512", "--ff", "1536",
           "--type", "q4_k", "--type-map", "attn_v=q6_k,ffn_down=q6_k,attn_q=q8_0,ffn_up=q5_0")


def check_bf16():
    """Qwen 2 in BF16."""
    family("qwen2", "--preset", "qwen2", "--layers", "4", "--embd", "512", "--ff", "1024",
           "--type", "bf16")


def ways(name, *readings):
    """Ways of reading that have no limit but the budget itself."""
    sanitized()
    model = make(name, "--layers", "12", "--embd", "512", "--ff", "1536", "--heads", "8",
                 "--kv-heads", "2", "--type", "q8_0")
    args = ["-c", "256", "-b", "64"]
    whole = plan(model, "none", *args)
    text = linnet("run", "-m", model, *args, "-p", PROMPT, "-n", "16", "--temp", "0",
                  "--ignore-eos", "-q", "--memory", "none")
    for budget in (whole["least"], whole["total"]):
        for reading in readings:
            hold(model, budget, text, args, limited=False, reading=reading)
    os.unlink(model)


def check_buffered():
    """Reads through the page cache, which counts as the process's: it is left at once."""
    ways("buffered", ["--no-direct-io"], ["--no-direct-io", "--no-io-uring"])


def check_address_space():
    """Little address space, as by ulimit -v: both back ends have room in it."""
    sanitized()
    demo = os.path.join(tap.ROOT, "tools", "demo", "linnet-demo.gguf")
    args = ["run", "-m", demo, "-p", "Once", "-n", "8", "-c", "64", "--temp", "0", "-q", "-t", "2"]
    text = linnet(*args)
    for reading in ([], ["--no-io-uring"]):
        p = subprocess.run(["prlimit", "--as=48000000", LINNET, *args, *reading],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=100)
        assert (p.returncode, p.stdout) == (0, text), (reading, p.returncode, p.stderr[-300:])


def check_shared():
    """Weights that are shared are not there twice while they are given away."""
    os.environ["XDG_RUNTIME_DIR"] = TMP.name
    ways("shared", ["--share"])


def check_shared_once():
    """Two processes that share have the weights once: by what the kernel says is theirs."""
    sanitized()
    os.environ["XDG_RUNTIME_DIR"] = TMP.name
    model = make("once", "--layers", "12", "--embd", "512", "--ff", "1536", "--heads", "8",
                 "--kv-heads", "2", "--type", "q8_0")
    template = os.path.join(TMP.name, "template")
    with open(template, "w") as f:
        f.write("{% for m in messages %}{{ m['content'] }} {% endfor %}")
    resident = plan(model, "none", "-c", "256")["resident"]
    holders = []

    def hold_one(*options):
        p = subprocess.Popen([LINNET, "chat", "-m", model, "--chat-template", template, "-n", "4",
                              "-c", "256", "--memory", "none", "--temp", "0", "-q", *options],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        holders.append(p)
        p.stdin.write(b"the cat\n")
        p.stdin.flush()
        assert p.stdout.read(1), "no reply"

    def total():
        time.sleep(0.5)
        return sum(pss(p.pid) for p in holders)

    def end():
        for p in holders:
            p.kill()
            p.communicate()
        holders.clear()

    try:
        hold_one()
        hold_one()
        twice = total()
        end()
        hold_one("--share")
        one = total()
        hold_one("--share")
        once = total()
        assert one > resident and twice > 2 * resident, (one, twice, resident)
        assert once < twice - resident * 9 // 10, (
            f"{once} of two that share, {twice} of two that do not, weights {resident}")
        # who had it first is gone, and it is still there, once
        holders[0].kill()
        holders[0].communicate()
        del holders[0]
        assert total() > resident, "the weights went with the first"
    finally:
        end()
    os.unlink(model)


NEIGHBOUR = """
import sys, time
kept = []
for _ in range(int(sys.argv[1])):
    kept.append(b"x" * (1 << 20))
    time.sleep(0.03)
time.sleep(1)
"""


def check_neighbour():
    """Another process of the group takes memory until its limit is met: weights give way."""
    sanitized()
    model = make("neighbour", "--layers", "16", "--embd", "1024", "--ff", "4096", "--heads", "16",
                 "--kv-heads", "4", "--type", "q8_0")
    args = ["run", "-m", model, "-c", "512", "-b", "64", "-p", PROMPT, "-n", "400", "--temp", "0",
            "--ignore-eos", "-q", "--lookup", "0"]
    text = linnet(*args, "--memory", "none")
    total = plan(model, "none", "-c", "512", "-b", "64")["total"]
    leave_cache(model)
    with Group((total + (20 << 20)) // 4096 * 4096) as group:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            p = subprocess.Popen([LINNET, *args], stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=err, preexec_fn=group.enter)
            time.sleep(1)
            subprocess.run([sys.executable, "-c", NEIGHBOUR, "60"], timeout=60,
                           preexec_fn=group.enter)
            early = p.poll() is not None
            status = p.wait(100)
            out.seek(0)
            err.seek(0)
            assert status == 0, f"exit status {status}: {err.read()[-300:]}"
            assert out.read() == text, "another text"
        killed = group.killed()
    os.unlink(model)
    assert not killed, f"{killed} were killed"
    if early:
        raise tap.Skip("the text was done before memory was short")


def check_phi3():
    """Phi 3, whose matrices are fused."""
    family("phi3", "--preset", "phi3", "--layers", "6", "--embd", "512", "--ff", "1536",
           "--type", "q5_k")


if __name__ == "__main__":
    sys.exit(tap.run([v for k, v in sorted(globals().items()) if k.startswith("check_")]))
