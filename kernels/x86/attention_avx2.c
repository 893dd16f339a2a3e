/* SPDX-License-Identifier: MIT */
/* AVX2: attention. Contract and body: kernels/attention.h, lanes/attention.h. */
#include "kernels/x86/attention.h"
#include "kernels/x86/v16_avx2.h"

/* 16 registers, two for sixteen lanes: 12 of sums, 2 of loads, a broadcast */
#define SCORE_QUERIES		6
#define SCORE_TILES(nq)		((nq) == 1 ? 4 : (nq) <= 3 ? 2 : 1)
#define SCORE8_QUERIES		2
#define SCORE8_TILES(nq)	1
#define VALUE_QUERIES		3
#define VALUE_VECTORS		2

#include "kernels/lanes/attention.h"

const struct linnet_attention_ops linnet_attention_avx2 = LANES_ATTENTION;
