/* SPDX-License-Identifier: MIT */
/*
 * What fuzz targets share. A target is one function that gets any bytes and must
 * return; what should never be true ends the process, so that the engine keeps the
 * input. Built with libFuzzer, or with driver.c where there is none.
 */
#ifndef LINNET_TESTS_FUZZ_H
#define LINNET_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define must(cond) do {									\
	if (!(cond)) {									\
		fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);	\
		abort();								\
	}										\
} while (0)

/* Bytes as a file that has a path. Two at a time, by number. */
static inline const char *fuzz_file(int which, const void *data, size_t n)
{
	static int fd[2] = { -1, -1 };
	static char path[2][32];

	if (fd[which] < 0) {
		fd[which] = memfd_create("fuzz", MFD_CLOEXEC);
		must(fd[which] >= 0);
		snprintf(path[which], sizeof(path[which]), "/proc/self/fd/%d", fd[which]);
	}
	must(!ftruncate(fd[which], 0));
	must(pwrite(fd[which], data, n, 0) == (ssize_t)n);
	return path[which];
}

/* A stream of numbers from a seed; good enough to fill memory with. */
static inline uint32_t fuzz_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

#endif
