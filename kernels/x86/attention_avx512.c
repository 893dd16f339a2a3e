/* SPDX-License-Identifier: MIT */
/* AVX-512: attention. Contract and body: kernels/attention.h, lanes/attention.h. */
#include "kernels/x86/attention.h"
#include "kernels/x86/v16_avx512.h"

/*
 * 32 registers: 24 sums, 4 loads, a broadcast. Integers have two sums for each query and
 * vector; with fewer scores at once gcc keeps them all in registers.
 */
#define SCORE_QUERIES		6
#define SCORE_TILES(nq)		4
#define SCORE8_QUERIES		4
#define SCORE8_TILES(nq)	((nq) == 1 ? 4 : (nq) == 2 ? 2 : 1)
#define VALUE_QUERIES		6
#define VALUE_VECTORS		4
#define VALUE8_QUERIES		6
#define VALUE8_VECTORS		2

#include "kernels/lanes/attention.h"

const struct linnet_attention_ops linnet_attention_avx512 = LANES_ATTENTION;
