// SPDX-License-Identifier: MIT
/*
 * LD_PRELOAD object that fails the Nth allocation (fail.h says which): malloc and its
 * family, anonymous mmap() with ENOMEM, pthread_create() with EAGAIN. It also
 * keeps a table of the live blocks, for the report at exit:
 *
 *	calls N failed N live N
 *	block BYTES OBJECT OFFSET	for each live block, at most 32: who took it
 *
 * live counts the blocks that were not taken by the C library for itself; -1 when
 * there were more than the table holds. For glibc.
 *
 * A program may include this file instead, with FAILMALLOC_INSIDE defined: then nothing is
 * armed and nothing reported, it sets fail and asks live_blocks() itself.
 */
#include "fail.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The allocator's own entries, which no interposition reaches. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

#define SLOTS (1u << 20)
#define REMOVED ((uintptr_t)1)

static struct {
	uintptr_t block;
	uintptr_t caller;
	size_t bytes;
} table[SLOTS];
static size_t used;
static bool overflowed;
static atomic_flag table_lock = ATOMIC_FLAG_INIT;

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&table_lock, memory_order_acquire))
		;
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&table_lock, memory_order_release);
}

static size_t slot_of(uintptr_t block)
{
	return (size_t)((block >> 4) * 0x9e3779b97f4a7c15u >> 44) & (SLOTS - 1);
}

static void *note(void *p, size_t bytes, void *caller)
{
	uintptr_t block = (uintptr_t)p;
	size_t i;

	if (!p || !fail.armed)
		return p;
	lock();
	if (used >= SLOTS / 2) {
		overflowed = true;
	} else {
		for (i = slot_of(block); table[i].block > REMOVED; i = (i + 1) & (SLOTS - 1))
			;
		used += !table[i].block;
		table[i].block = block;
		table[i].bytes = bytes;
		table[i].caller = (uintptr_t)caller;
	}
	unlock();
	return p;
}

static void forget(void *p)
{
	uintptr_t block = (uintptr_t)p;
	size_t i;

	if (!p || !fail.armed)
		return;
	lock();
	for (i = slot_of(block); table[i].block && table[i].block != block;
	     i = (i + 1) & (SLOTS - 1))
		;
	if (table[i].block)
		table[i].block = REMOVED;
	unlock();
}

void *malloc(size_t n)
{
	if (fail_now()) {
		errno = ENOMEM;
		return NULL;
	}
	return note(__libc_malloc(n), n, __builtin_return_address(0));
}

void *calloc(size_t n, size_t size)
{
	if (fail_now()) {
		errno = ENOMEM;
		return NULL;
	}
	return note(__libc_calloc(n, size), n * size, __builtin_return_address(0));
}

static void *resize(void *p, size_t n, void *caller)
{
	void *q;

	if (fail_now()) {
		errno = ENOMEM;
		return NULL;
	}
	/* Out of the table before another thread can be given the same block. */
	forget(p);
	q = __libc_realloc(p, n);
	if (!q && n)
		return note(p, 0, caller), NULL;
	return note(q, n, caller);
}

void *realloc(void *p, size_t n)
{
	return resize(p, n, __builtin_return_address(0));
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return resize(p, bytes, __builtin_return_address(0));
}

static void *aligned(size_t align, size_t n, void *caller)
{
	return fail_now() ? NULL : note(__libc_memalign(align, n), n, caller);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	void *q;

	if (align % sizeof(void *) || !align || align & (align - 1))
		return EINVAL;
	q = aligned(align, n, __builtin_return_address(0));
	if (!q)
		return ENOMEM;
	*p = q;
	return 0;
}

void *aligned_alloc(size_t align, size_t n)
{
	void *p = aligned(align, n, __builtin_return_address(0));

	if (!p)
		errno = ENOMEM;
	return p;
}

void *memalign(size_t align, size_t n)
{
	void *p = aligned(align, n, __builtin_return_address(0));

	if (!p)
		errno = ENOMEM;
	return p;
}

void free(void *p)
{
	forget(p);
	__libc_free(p);
}

void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset)
{
	if (flags & MAP_ANONYMOUS && fail_now()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t n, int prot, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (fail_now())
		return EAGAIN;
	*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	return next(thread, attr, start, arg);
}

/* Blocks of the C library and the loader live as long as they like. */
static bool of_libc(uintptr_t caller, Dl_info *info)
{
	const char *name;

	if (!dladdr((void *)caller, info) || !info->dli_fname) {
		memset(info, 0, sizeof(*info));
		return false;
	}
	name = strrchr(info->dli_fname, '/');
	name = name ? name + 1 : info->dli_fname;
	return !strncmp(name, "libc.so", 7) || !strncmp(name, "ld-", 3) ||
	       !strncmp(name, "libstdc++", 9);
}

/* Call each() for the live blocks that are not the C library's own; how many, or -1. */
static long live_blocks(void (*each)(size_t bytes, const Dl_info *info, uintptr_t caller))
{
	long live = 0;
	Dl_info info;

	for (size_t i = 0; i < SLOTS && used; i++) {
		if (table[i].block <= REMOVED || of_libc(table[i].caller, &info))
			continue;
		if (live++ < 32 && each)
			each(table[i].bytes, &info, table[i].caller);
	}
	return overflowed ? -1 : live;
}

#ifndef FAILMALLOC_INSIDE
static void print_block(size_t bytes, const Dl_info *info, uintptr_t caller)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "block %zu %s %#zx\n", bytes,
			 info->dli_fname ? info->dli_fname : "?",
			 (size_t)(caller - (uintptr_t)info->dli_fbase));

	if (n > 0 && write(fail.fd, line, (size_t)n) < 0)
		fail.fd = -1;
}

__attribute__((constructor))
static void start(void)
{
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
	n = snprintf(line, sizeof(line), "calls %ld failed %ld live %ld\n", fail.calls, fail.failed,
		     live_blocks(print_block));
	if (n > 0 && write(fail.fd, line, (size_t)n) < 0)
		return;
}
#endif
