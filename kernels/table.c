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
#include "kernels/x86/vnni.h"
#include <cpuid.h>
#elif defined(__aarch64__)
#include "kernels/arm/arm.h"
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

struct level {
	const char *name;
	void (*fill)(struct linnet_kernels *k);	/* on top of the levels before; NULL: not here */
};

/* Lowest first: a level takes what the ones before have and it does not replace. */
static const struct level levels[] = {
	{ "ref", linnet_kernels_ref },
#if defined(__x86_64__)
	{ "avx2", linnet_kernels_avx2 },
	{ "avxvnni", linnet_kernels_avxvnni },
	{ "avx512", linnet_kernels_avx512 },
#elif defined(__aarch64__)
	{ "neon", linnet_kernels_neon },
	{ "dotprod", linnet_kernels_dotprod },
	{ "i8mm", linnet_kernels_i8mm },
#endif
};

#define N_LEVELS ((int)(sizeof(levels) / sizeof(levels[0])))

/* Lists of levels, best first; every tail of a list is one. */
static const char *const names[] = {
#if defined(__x86_64__)
	"avx512", "avx2", "ref", NULL,
#elif defined(__aarch64__)
	"i8mm", "dotprod", "neon", "ref", NULL,
#else
	"ref", NULL,
#endif
};

#ifdef __x86_64__
static const char *const names_avxvnni[] = { "avx512", "avxvnni", "avx2", "ref", NULL };
#endif

/* Levels of other machines: known, and not here. */
static const char *const foreign[] = {
#ifndef __x86_64__
	"avx2", "avxvnni", "avx512",
#endif
#ifndef __aarch64__
	"neon", "dotprod", "i8mm",
#endif
};

#ifdef __x86_64__
static bool has_f16c(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* VEX-encoded VNNI, which is no part of AVX-512 and uses no registers beyond AVX2's */
static bool has_avxvnni(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

/* The builtins also ask what the system saves. */
static bool has_avx2(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("bmi2") && has_f16c();
}

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma") &&
	       __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
	       __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bitalg") &&
	       __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("gfni");
}

const char *const *linnet_kernels_levels(void)
{
	if (!has_avx2())
		return names + 2;
	if (has_avxvnni())
		return names_avxvnni + !has_avx512();
	return names + !has_avx512();
}
#elif defined(__aarch64__)
const char *const *linnet_kernels_levels(void)
{
	if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP))
		return names + 2;
	return names + !(getauxval(AT_HWCAP2) & HWCAP2_I8MM);
}
#else
const char *const *linnet_kernels_levels(void)
{
	return names;
}
#endif

int linnet_kernels_init(struct linnet_kernels *k, const char *level)
{
	const char *const *usable = linnet_kernels_levels();
	int want;

	if (!level || !*level)
		level = *usable;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (!strcmp(foreign[i], level))
			return -ENOTSUP;
	for (want = 0; want < N_LEVELS; want++)
		if (!strcmp(levels[want].name, level))
			break;
	if (want == N_LEVELS)
		return -EINVAL;
	while (*usable && strcmp(*usable, level))
		usable++;
	if (!*usable)
		return -ENOTSUP;
	memset(k, 0, sizeof(*k));
	/* what is not usable below is only addresses, which the level above replaces */
	for (int i = 0; i <= want; i++)
		levels[i].fill(k);
	k->isa = levels[want].name;
	return 0;
}
