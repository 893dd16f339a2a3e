/* SPDX-License-Identifier: MIT */
/* Body of the attention of the AArch64 levels; see kernels/attention.h. */
#include "kernels/arm/arm.h"
#include "kernels/arm/v16_neon.h"

/*
 * 32 registers, four for sixteen lanes. Scores: 16 of sums, loads of 4, a broadcast.
 * Integers: two sums for each query. Values: 16 of sums, loads of 8, a broadcast.
 */
#define SCORE_QUERIES		4
#define SCORE_TILES(nq)		((nq) == 1 ? 4 : (nq) == 2 ? 2 : 1)
#define SCORE8_QUERIES		2
#define SCORE8_TILES(nq)	1
#define VALUE_QUERIES		2
#define VALUE_VECTORS		2
#define VALUE8_QUERIES		2
#define VALUE8_VECTORS		1

#include "kernels/lanes/attention.h"
