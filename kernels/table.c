/* SPDX-License-Identifier: MIT */
/*
 * Chooses the kernels of a CPU. Keeps the contract of linnet_kernels_init() and
 * linnet_kernels_levels() in kernels.h.
 */
#include "kernels/kernels.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

struct level {
	const char *name;
	void (*fill)(struct linnet_kernels *k);	/* on top of the levels before; NULL: not here */
};

/* Lowest first: a level needs all that the ones before need. */
static const struct level levels[] = {
	{ "ref", linnet_kernels_ref },
#if defined(__x86_64__)
	{ "avx2", linnet_kernels_avx2 },
	{ "avx512", linnet_kernels_avx512 },
#elif defined(__aarch64__)
	{ "neon", linnet_kernels_neon },
	{ "dotprod", linnet_kernels_dotprod },
#endif
};

#define N_LEVELS ((int)(sizeof(levels) / sizeof(levels[0])))

/* Every tail of this array is a list of levels, best first. */
static const char *const names[N_LEVELS + 1] = {
#if defined(__x86_64__)
	"avx512", "avx2",
#elif defined(__aarch64__)
	"dotprod", "neon",
#endif
	"ref", NULL
};

/* Levels of other machines: known, and not here. */
static const char *const foreign[] = {
#ifndef __x86_64__
	"avx2", "avx512",
#endif
#ifndef __aarch64__
	"neon", "dotprod",
#endif
};

#ifdef __x86_64__
static bool has_f16c(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* How many of levels[] this CPU runs. The builtins also ask what the system saves. */
static int usable_levels(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !__builtin_cpu_supports("bmi2") || !has_f16c())
		return 1;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512cd") ||
	    !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512ifma") ||
	    !__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vbmi2") ||
	    !__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512bitalg") ||
	    !__builtin_cpu_supports("avx512vpopcntdq") || !__builtin_cpu_supports("gfni"))
		return 2;
	return 3;
}
#elif defined(__aarch64__)
static int usable_levels(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? 3 : 2;
}
#else
static int usable_levels(void)
{
	return 1;
}
#endif

const char *const *linnet_kernels_levels(void)
{
	return names + N_LEVELS - usable_levels();
}

int linnet_kernels_init(struct linnet_kernels *k, const char *level)
{
	int n = usable_levels(), want = n;

	if (level && *level) {
		for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
			if (!strcmp(foreign[i], level))
				return -ENOTSUP;
		for (want = 1; want <= N_LEVELS; want++)
			if (!strcmp(levels[want - 1].name, level))
				break;
		if (want > N_LEVELS)
			return -EINVAL;
		if (want > n)
			return -ENOTSUP;
	}
	memset(k, 0, sizeof(*k));
	for (int i = 0; i < want; i++)
		levels[i].fill(k);
	k->isa = levels[want - 1].name;
	return 0;
}
