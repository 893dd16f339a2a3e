/* SPDX-License-Identifier: MIT */
/* AVX2: attention. Contract and body: kernels/attention.h, lanes/attention.h. */
#include "kernels/x86/attention.h"
#include "kernels/x86/v16_avx2.h"

/*
 * 16 registers, two for sixteen lanes. Scores: 12 of sums, a load of 2, a broadcast.
 * Values: 8 of sums, loads of 4, a broadcast; with more the compiler spills.
 */
#define SCORE_QUERIES		6
#define SCORE_TILES(nq)		((nq) == 1 ? 4 : (nq) == 2 ? 2 : 1)
#define SCORE8_QUERIES		2
#define SCORE8_TILES(nq)	1
#define VALUE_QUERIES		2
#define VALUE_VECTORS		2
#define VALUE8_QUERIES		2
#define VALUE8_VECTORS		1

#include "kernels/lanes/attention.h"

const struct linnet_attention_ops linnet_attention_avx2 = LANES_ATTENTION;
