/* SPDX-License-Identifier: MIT */
/*
 * The least a C test needs: TAP on stdout, exit status 0 (all passed), 1 (some
 * failed) or 77 (nothing could run). One program per subject.
 *
 *	int main(void)
 *	{
 *		test_ok(1 + 1 == 2, "addition");
 *		if (!data)
 *			test_skip("real models", "LINNET_TEST_DATA is not there");
 *		return test_end();
 *	}
 */
#ifndef LINNET_TESTS_TEST_H
#define LINNET_TESTS_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int test_count, test_failed, test_skipped;

/* Report one result; returns it. */
__attribute__((format(printf, 2, 3), unused))
static bool test_ok(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%s %d - ", ok ? "ok" : "not ok", ++test_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	test_failed += !ok;
	return ok;
}

__attribute__((unused))
static void test_skip(const char *what, const char *why)
{
	printf("ok %d - %s # SKIP %s\n", ++test_count, what, why);
	fflush(stdout);
	test_skipped++;
}

/* Path of a file in the test data, or NULL when it is not there. Not reentrant. */
__attribute__((unused))
static const char *test_data(const char *name)
{
	static char path[4096];
	const char *dir = getenv("LINNET_TEST_DATA");
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "../shared/data", name);
	return stat(path, &st) ? NULL : path;
}

__attribute__((unused))
static int test_end(void)
{
	printf("1..%d\n", test_count);
	if (test_failed)
		return 1;
	return test_count && test_skipped == test_count ? 77 : 0;
}

#endif
