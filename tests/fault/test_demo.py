#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The tool on the demo model while each allocation and each read in turn goes wrong.

Every run must end with the right output or with exit status 1 and a message, never with a
signal, a hang, a wrong success or a leak; see tests/tools/fail_each.py. LINNET_TEST_QUICK
takes a part of the allocations.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import tap  # noqa: E402
from fail_each import fail_each  # noqa: E402

BUILD = os.environ.get("LINNET_BUILD", os.path.join(ROOT, "build"))
LINNET = os.path.join(BUILD, "linnet")
DEMO = os.path.join(ROOT, "tools", "demo", "linnet-demo.gguf")
MOST = 60 if os.environ.get("LINNET_TEST_QUICK") else None
RUN = [LINNET, "run", "-m", DEMO, "-p", "Once", "-n", "3", "--temp", "0", "-q", "-t", "2"]


def hold(what, command, **kw):
    runs, failed, problems = fail_each(BUILD, what, command, most=MOST, **kw)
    assert not problems, "\n# ".join(problems[:20])
    assert runs and failed, f"{runs} runs, {failed} with a failed call"


def check_run_allocations():
    hold("alloc", RUN)


def check_run_allocations_from_one_on():
    """Memory that is gone stays gone."""
    hold("alloc", RUN, all_from=True)


def check_run_allocations_in_a_small_budget():
    """Streamed weights, drafts, reads by threads."""
    hold("alloc", RUN + ["--memory", "8600000", "-c", "64", "-b", "8", "--no-io-uring"])


def check_tokenize_allocations():
    hold("alloc", [LINNET, "tokenize", "-m", DEMO, "-p", "Once upon a time"])


def check_info_allocations():
    hold("alloc", [LINNET, "info", "-m", DEMO])


def check_reads_that_fail():
    hold("eio", RUN + ["--no-io-uring"])


def check_reads_that_are_interrupted():
    hold("eintr", RUN + ["--no-io-uring", "--no-direct-io"])


def check_reads_that_are_short():
    hold("short", RUN + ["--no-io-uring", "--no-direct-io"])


def check_reads_past_the_end():
    hold("eof", RUN + ["--no-io-uring", "--no-direct-io"])


if __name__ == "__main__":
    sys.exit(tap.run([f for name, f in list(globals().items()) if name.startswith("check_")]))
