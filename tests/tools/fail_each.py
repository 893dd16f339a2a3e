#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run a command again and again while its 1st, 2nd, ... allocation or read goes wrong.

usage: fail_each.py [-s STRIDE] [-m RUNS] [--from] [-v] WHAT COMMAND...

WHAT is alloc, eio, eintr, short or eof. The command first runs untouched, twice: it must
exit with 0, and what it wrote to standard output is what is right (unless the two differ).
Then each run must end as one of

 - exit status 0 and the same output (what failed was not needed, or was done otherwise)
 - exit status 1, a message on standard error, and no more live blocks than the untouched
   run had

and with eintr and short only the first will do. Anything else is reported: a signal,
another status, a hang (60 s), a wrong success, a silent failure, a leak. The exit status
is 0 when nothing was.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile

TIMEOUT = 60


class Run:
    def __init__(self, build, what, command, at=0, all_from=False):
        name = "failmalloc" if what == "alloc" else "failio"
        with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as out, \
                tempfile.TemporaryFile() as err:
            env = dict(os.environ, LD_PRELOAD=f"{build}/tests/fault/preload/{name}.so",
                       LINNET_FAIL_AT=str(at), LINNET_FAIL_FROM=str(int(all_from)),
                       LINNET_FAIL_FD=str(report.fileno()), LINNET_FAIL_KIND=what)
            try:
                self.status = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                             stderr=err, pass_fds=[report.fileno()],
                                             timeout=TIMEOUT, check=False).returncode
            except subprocess.TimeoutExpired:
                self.status = None
            texts = []
            for f in (out, err, report):
                f.seek(0)
                texts.append(f.read())
        self.out = texts[0]
        self.err = texts[1].decode(errors="replace")
        report = texts[2].decode(errors="replace")
        self.blocks = re.findall(r"^block (\d+) (\S+) (\S+)$", report, re.M)
        m = re.search(r"^calls (\d+) failed (\d+) live (-?\d+)$", report, re.M)
        self.calls, self.failed, self.live = map(int, m.groups()) if m else (None, None, None)


def judge(run, base, what, same):
    """What is wrong with a run, or None."""
    if run.status is None:
        return f"still running after {TIMEOUT} s"
    if run.status < 0:
        return f"killed by {signal.Signals(-run.status).name}"
    if run.calls is None:
        return f"exit status {run.status} without the report of the preloaded object"
    if run.status == 0:
        if same and run.out != base.out:
            return "exit status 0 with another output than the untouched run"
    elif run.status != 1:
        return f"exit status {run.status}"
    elif what in ("eintr", "short"):
        return "failed though the call could be repeated"
    elif not run.err.strip():
        return "failed without a message"
    # the tool's own needs end it on the spot (tool_alloc, JSON): the system takes the rest
    if "linnet: out of memory (" in run.err:
        return None
    if run.live > base.live >= 0:
        return f"{run.live} live blocks at exit, {base.live} in the untouched run"
    return None


def place(block):
    """Where a live block was taken, as a line of the source where that can be told."""
    size, path, offset = block
    try:
        # the return address is behind the call
        text = subprocess.run(["addr2line", "-s", "-f", "-e", path, hex(int(offset, 16) - 1)],
                              capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        text = []
    known = len(text) > 1 and not text[0].startswith("?")
    return f"  block of {size} from " + (" ".join(text[:2]) if known else f"{path}+{offset}")


def fail_each(build, what, command, stride=1, most=None, all_from=False, verbose=False):
    """-> (runs made, how many of them had a failed call, list of problems)"""
    base = Run(build, what, command)
    if base.status != 0 or base.calls is None:
        return 0, 0, [f"untouched: exit status {base.status}: {base.err.strip()[:300]}"]
    same = Run(build, what, command).out == base.out
    problems, runs, failed = [], 0, 0
    if most:
        stride = max(stride, -(-base.calls // most))
    for at in range(1, base.calls + 1, stride):
        run = Run(build, what, command, at, all_from)
        runs += 1
        failed += bool(run.failed)
        bad = judge(run, base, what, same)
        if bad:
            last = run.err.strip().splitlines()[-1:] or [""]
            problems.append(f"{what} {at} of {base.calls}: {bad} [{last[0][:200]}]")
            problems += [place(b) for b in run.blocks[:6]] if "live" in bad else []
        if verbose:
            print(f"{what} {at}: {run.status} {run.err.strip()[:160]}")
    return runs, failed, problems


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    p.add_argument("-s", dest="stride", type=int, default=1)
    p.add_argument("-m", dest="most", type=int)
    p.add_argument("--from", dest="all_from", action="store_true")
    p.add_argument("-v", dest="verbose", action="store_true")
    p.add_argument("what", choices=["alloc", "eio", "eintr", "short", "eof"])
    p.add_argument("command", nargs=argparse.REMAINDER)
    a = p.parse_args()
    build = os.path.abspath(os.environ.get("LINNET_BUILD", "build"))
    runs, failed, problems = fail_each(build, a.what, a.command, a.stride, a.most, a.all_from,
                                       a.verbose)
    print("\n".join(problems + [f"{runs} runs, {failed} with a failed call, "
                                f"{len(problems)} problems"]))
    return 1 if problems or not failed else 0


if __name__ == "__main__":
    sys.exit(main())
