/* SPDX-License-Identifier: MIT */
/*
 * What the preloaded objects share: which call fails, and the report at exit.
 *
 *	LINNET_FAIL_AT=N	the Nth call fails (0 or unset: none)
 *	LINNET_FAIL_FROM=1	and all that come after it
 *	LINNET_FAIL_FD=FD	where the report goes: one line at exit
 *
 * Calls are counted from this object's constructor on, when the loader has done its
 * work. Nothing here allocates.
 */
#ifndef LINNET_TESTS_FAULT_FAIL_H
#define LINNET_TESTS_FAULT_FAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

static struct {
	bool armed;
	bool from;
	long at;
	int fd;
	atomic_long calls;
	atomic_long failed;
} fail = { .fd = -1 };

static inline long fail_env(const char *name, long otherwise)
{
	const char *v = getenv(name);

	return v && *v ? strtol(v, NULL, 10) : otherwise;
}

static inline void fail_arm(void)
{
	fail.at = fail_env("LINNET_FAIL_AT", 0);
	fail.from = fail_env("LINNET_FAIL_FROM", 0);
	fail.fd = (int)fail_env("LINNET_FAIL_FD", -1);
	fail.armed = true;
}

/* Count a call; true: this one fails. */
static inline bool fail_now(void)
{
	long n;

	if (!fail.armed)
		return false;
	n = atomic_fetch_add(&fail.calls, 1) + 1;
	if (!fail.at || n < fail.at || (n > fail.at && !fail.from))
		return false;
	atomic_fetch_add(&fail.failed, 1);
	return true;
}

#endif
