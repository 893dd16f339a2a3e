/* SPDX-License-Identifier: MIT */
/* What all x86 products use whatever the instruction set. */
#ifndef LINNET_KERNELS_X86_SIMD_H
#define LINNET_KERNELS_X86_SIMD_H

#define ALWAYS_INLINE	static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL		_Pragma("clang loop unroll(full)")
#else
#define UNROLL		_Pragma("GCC unroll 16")
#endif

/* Not the intrinsics: gcc drops calls of a function that does nothing but prefetch. */
ALWAYS_INLINE void prefetch_t0(const void *p)
{
	__asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p));
}

ALWAYS_INLINE void prefetch_t1(const void *p)
{
	__asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)p));
}

#endif
