/* SPDX-License-Identifier: MIT */
/*
 * Some files of the AVX2 level are compiled once more for machines that have vpdpbusd of 256
 * bits, with LINNET_VNNI saying which:
 *
 *	0	none: the avx2 level
 *	1	VEX, which processors without AVX-512 have: the avxvnni level
 *	2	EVEX, for checkasm alone: it runs the same source where there is AVX-512 VNNI
 *		and no AVX-VNNI
 *
 * LEVEL(name) is a name in what is being compiled.
 */
#ifndef LINNET_KERNELS_X86_VNNI_H
#define LINNET_KERNELS_X86_VNNI_H

#include "kernels/kernels.h"

#ifndef LINNET_VNNI
#define LINNET_VNNI	0
#endif

#if LINNET_VNNI == 1
#define LEVEL(name)	name##_avxvnni
#define VNNI_DPBUSD	_mm256_dpbusd_avx_epi32
#define VNNI_DPWSSD	_mm256_dpwssd_avx_epi32
#define VNNI_ENCODING	"%{vex%} "
#elif LINNET_VNNI == 2
#define LEVEL(name)	name##_evexvnni
#define VNNI_DPBUSD	_mm256_dpbusd_epi32
#define VNNI_DPWSSD	_mm256_dpwssd_epi32
#define VNNI_ENCODING	"%{evex%} "
#else
#define LEVEL(name)	name##_avx2
#endif

/* The products that there are twice, and what fills them in */
#define LINNET_VNNI_TYPES(X)							\
	X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q8_0, q8_0)	\
	X(IQ4_NL, iq4_nl) X(MXFP4, mxfp4) X(Q2_K, q2_k) X(Q3_K, q3_k)		\
	X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(IQ4_XS, iq4_xs)

#define LINNET_VNNI_DECLARE_avxvnni(TYPE, type)					\
	void linnet_matmul_##type##_avxvnni(const struct linnet_matmul *mm);
#define LINNET_VNNI_DECLARE_evexvnni(TYPE, type)				\
	void linnet_matmul_##type##_evexvnni(const struct linnet_matmul *mm);
#define LINNET_VNNI_FILL_avxvnni(TYPE, type)					\
	k->matmul[LINNET_TYPE_##TYPE] = linnet_matmul_##type##_avxvnni;
#define LINNET_VNNI_FILL_evexvnni(TYPE, type)					\
	k->matmul[LINNET_TYPE_##TYPE] = linnet_matmul_##type##_evexvnni;

LINNET_VNNI_TYPES(LINNET_VNNI_DECLARE_avxvnni)
LINNET_VNNI_TYPES(LINNET_VNNI_DECLARE_evexvnni)
void linnet_kernels_limits_avx2(struct linnet_kernels *k);
void linnet_kernels_avxvnni(struct linnet_kernels *k);	/* a filler, see kernels.h */
void linnet_kernels_limits_avxvnni(struct linnet_kernels *k);
void linnet_kernels_limits_evexvnni(struct linnet_kernels *k);

#endif
