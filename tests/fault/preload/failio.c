// SPDX-License-Identifier: MIT
/*
 * LD_PRELOAD object that makes the Nth input call go wrong (fail.h says which).
 * LINNET_FAIL_KIND says how:
 *
 *	eio	reads, open and fstat fail with EIO
 *	eintr	reads are interrupted before they read anything
 *	short	reads give one byte, as a read may at any time
 *	eof	reads give 0 bytes, as when the file was cut meanwhile
 *
 * io_uring is refused, so that all reads come through here. Only calls that the kind
 * applies to are counted. Reads: read, pread, preadv, preadv2
 * and their 64-bit names. The report at exit: calls N failed N live 0
 */
#include "fail.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static enum { KIND_EIO, KIND_EINTR, KIND_SHORT, KIND_EOF } kind;

/* 1: go on, with *n bytes at most; 0 or -1 (errno is set): the result. */
static int bend(size_t *n)
{
	if (!fail_now())
		return 1;
	switch (kind) {
	case KIND_EIO:
		errno = EIO;
		return -1;
	case KIND_EINTR:
		errno = EINTR;
		return -1;
	case KIND_SHORT:
		*n = *n ? 1 : 0;
		return 1;
	case KIND_EOF:
		break;
	}
	return 0;
}

ssize_t read(int fd, void *p, size_t n)
{
	int ret = bend(&n);

	return ret < 1 ? ret : syscall(SYS_read, fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
	int ret = bend(&n);

	return ret < 1 ? ret : syscall(SYS_pread64, fd, p, n, offset);
}

ssize_t pread64(int fd, void *p, size_t n, off_t offset) __attribute__((alias("pread")));

ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)
{
	struct iovec one;
	size_t n = 0;
	int ret;

	for (int i = 0; i < iovcnt; i++)
		n += iov[i].iov_len;
	if (iovcnt > 0 && n) {
		ret = bend(&n);
		if (ret < 1)
			return ret;
		if (n == 1) {
			for (; !iov->iov_len; iov++)
				;
			one = *iov;
			one.iov_len = 1;
			iov = &one;
			iovcnt = 1;
		}
	}
	/* The offset goes in two halves, the upper one is for 32-bit systems. */
	return syscall(SYS_preadv2, fd, iov, iovcnt, offset, 0L, flags);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)
	__attribute__((alias("preadv2")));

ssize_t preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
	return preadv2(fd, iov, iovcnt, offset, 0);
}

ssize_t preadv64(int fd, const struct iovec *iov, int iovcnt, off_t offset)
	__attribute__((alias("preadv")));

/* liburing's; it makes its system calls itself. */
int io_uring_queue_init(unsigned entries, void *ring, unsigned flags);
int io_uring_queue_init_params(unsigned entries, void *ring, void *params);

int io_uring_queue_init(unsigned entries, void *ring, unsigned flags)
{
	(void)entries, (void)ring, (void)flags;
	return -EPERM;
}

int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
	(void)entries, (void)ring, (void)params;
	return -EPERM;
}

static bool call_fails(void)
{
	if (kind != KIND_EIO || !fail_now())
		return false;
	errno = EIO;
	return true;
}

int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return call_fails() ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return call_fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int fstat(int fd, struct stat *st)
{
	int (*next)(int, struct stat *);

	if (call_fails())
		return -1;
	*(void **)&next = dlsym(RTLD_NEXT, "fstat");
	return next(fd, st);
}

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *st)
{
	return call_fails() ? -1 : (int)syscall(SYS_statx, dir, path, flags, mask, st);
}

__attribute__((constructor))
static void start(void)
{
	const char *v = getenv("LINNET_FAIL_KIND");

	if (v && !strcmp(v, "eintr"))
		kind = KIND_EINTR;
	else if (v && !strcmp(v, "short"))
		kind = KIND_SHORT;
	else if (v && !strcmp(v, "eof"))
		kind = KIND_EOF;
	fail_arm();
}

__attribute__((destructor))
static void report(void)
{
	char line[128];
	int n;

	fail.armed = false;
	if (fail.fd < 0)
		return;
	n = snprintf(line, sizeof(line), "calls %ld failed %ld live 0\n", fail.calls, fail.failed);
	if (n > 0 && write(fail.fd, line, (size_t)n) < 0)
		return;
}
