/* SPDX-License-Identifier: MIT */
/*
 * A test program for the driver: TEST(name) { ... } as often as wanted, then TEST_MAIN.
 * Prints TAP. Every test runs in a process of its own with a time limit, so that one that
 * crashes or hangs fails alone and leaves nothing behind. Arguments of the program are the
 * names of the tests to run.
 *
 * CHECK() ends the test when it does not hold; SKIP() ends it otherwise.
 */
#ifndef LINNET_SELFTESTS_HARNESS_H
#define LINNET_SELFTESTS_HARNESS_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
	unsigned int seconds;
	struct test *next;
};

static struct test *test_first;
__attribute__((unused)) static struct test **test_last = &test_first;

#define TEST_FD 199	/* where a test says why it ended */

/* A test with its own time limit in seconds. */
#define TEST_LIMIT(test_name, limit) \
	static void test_##test_name(void); \
	__attribute__((constructor)) static void test_add_##test_name(void) \
	{ \
		static struct test t = { #test_name, test_##test_name, limit, NULL }; \
		*test_last = &t; \
		test_last = &t.next; \
	} \
	static void test_##test_name(void)

#define TEST(test_name) TEST_LIMIT(test_name, 300)

/* End the test; the text goes to the parent. */
__attribute__((format(printf, 2, 3), noreturn, unused))
static void test_leave(int status, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vdprintf(TEST_FD, fmt, ap);
	va_end(ap);
	(void)n;
	_exit(status);
}

#define SKIP(...) test_leave(77, __VA_ARGS__)

#define CHECK(cond) do { \
	if (!(cond)) \
		test_leave(1, "%s:%d: %s (errno %d)", __FILE__, __LINE__, #cond, errno); \
} while (0)

#define CHECK_EQ(a, b) do { \
	long long a_ = (long long)(a), b_ = (long long)(b); \
	if (a_ != b_) \
		test_leave(1, "%s:%d: %s is %lld, not %s = %lld", __FILE__, __LINE__, #a, a_, \
			   #b, b_); \
} while (0)

/* The call returns -1 with this errno. */
#define CHECK_ERR(call, error) do { \
	errno = 0; \
	long long r_ = (long long)(call); \
	if (r_ != -1 || errno != (error)) \
		test_leave(1, "%s:%d: %s returned %lld with errno %d, not %s", __FILE__, \
			   __LINE__, #call, r_, errno, #error); \
} while (0)

__attribute__((unused))
static unsigned long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

__attribute__((unused))
static void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

__attribute__((unused))
static int test_run(struct test *t, int number)
{
	char text[1024];
	int status, bad, test_pipe[2];
	ssize_t n;
	pid_t pid;

	if (pipe(test_pipe))
		return 1;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 1;
	if (!pid) {
		dup2(test_pipe[1], TEST_FD);
		close(test_pipe[0]);
		close(test_pipe[1]);
		alarm(t->seconds);
		t->run();
		_exit(0);
	}
	close(test_pipe[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* Only what is there: a child of the test may hold the other end. */
	n = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		n = WIFEXITED(status) ? read(test_pipe[0], text, sizeof(text) - 1) : 0;
	text[n > 0 ? n : 0] = 0;
	close(test_pipe[0]);
	bad = !WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != 77);
	printf("%s %d - %s%s%s\n", bad ? "not ok" : "ok", number, t->name,
	       !bad && WEXITSTATUS(status) ? " # SKIP " : "", bad ? "" : text);
	if (bad && WIFSIGNALED(status))
		printf("# signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (bad)
		printf("# %s\n", text);
	fflush(stdout);
	return bad;
}

__attribute__((unused))
static int test_main(int argc, char **argv)
{
	int number = 0, failed = 0, i;
	struct test *t;

	for (t = test_first; t; t = t->next) {
		for (i = 1; i < argc && strcmp(argv[i], t->name); i++)
			;
		if (argc == 1 || i < argc)
			failed += test_run(t, ++number);
	}
	printf("1..%d\n", number);
	return failed ? 1 : 0;
}

#define TEST_MAIN int main(int argc, char **argv) { return test_main(argc, argv); }

#endif
