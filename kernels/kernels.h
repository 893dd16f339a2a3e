/* SPDX-License-Identifier: MIT */
/*
 * Compute kernels: the table that an engine calls, and the numeric contract that
 * every implementation keeps. kernels/ref/ is the definition in plain C; x86/
 * and arm/ override entries at start by CPU feature (table.c). LINNET_CPU names
 * a level ("ref", "avx2", "avxvnni", "avx512"; "neon", "dotprod", "i8mm") to force a lower one.
 *
 * The numeric contract
 * --------------------
 * A result depends on the operands alone: not on the number of threads, on how
 * rows or tokens are split between calls, on how many tokens share a call, or on
 * the instruction set: every implementation gives the bits that ref gives. So all
 * use fused multiply-add where ref does and nowhere else (the tree is compiled
 * with -ffp-contract=off), the orders below, and the polynomials of ref/math.h for
 * exp, exp2 and tanh. NaN payloads are the one exception.
 *
 * Activations are quantized for integer products, by the weights' type:
 *   LINNET_ACT_F32       none               F32, F16, BF16 weights
 *   LINNET_ACT_Q32       blocks of 32       Q8_0
 *   LINNET_ACT_Q32_POW2  blocks of 32       Q4_0 Q4_1 Q5_0 Q5_1 IQ4_NL MXFP4
 *   LINNET_ACT_Q256      blocks of 256      Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
 * A block with largest magnitude a: d = a / 127, q = round_to_even(x * (127 / a)),
 * |q| <= 127. Blocks of 32 round this d up, Q32 to 1, 1.25, 1.5 or 1.75 times a power of two,
 * Q32_POW2 to a power of two, and q = round_to_even(x * (1 / d)). When a < 1e-30, d and q are 0.
 * When an element is infinite or not a number, q is 0 and d is NaN, so that every product of
 * the block is NaN.
 *
 * Processors that multiply integers and floats in the same place, one after the other, make
 * the product of two scales elsewhere when d has so few bits. A power of two costs up to one
 * bit of the activations, which is little beside what the weights of 4 and 5 bits have lost;
 * Q8_0 has more to lose, and keeps four steps (Documentation/kernels.rst has figures).
 *
 * Order of a product y = sum_k w[k] x[k]:
 *   F32 act:  16 chains, chain c owns k = c mod 16: acc_c = fma(w, x, acc_c);
 *             then acc_c += acc_{c+8} (c < 8), += acc_{c+4}, += acc_{c+2}, += acc_{c+1}
 *   Q32 acts: 4 chains, chain s owns blocks b = s mod 4: isum exact int32 of 32
 *             products; c_s = fma((float)isum, d_w * d_a, c_s); types with a minimum
 *             then c_s = fma(m_w, d_a * (float)asum, c_s), asum the sum of the
 *             block's q; y = ((c_0 + c_1) + c_2) + c_3
 *   Q256 act: one chain over super-blocks: acc = fma(d_w * d_a, (float)isum, acc);
 *             types with minima: acc = acc + fma(d_w * d_a, (float)isum,
 *             -((dmin_w * d_a) * (float)msum)); isum = sum_j sc_j * dot_j and
 *             msum = sum_j m_j * asum_j exact int32 over the sub-blocks
 * Block integers are those of the type's definition with its offset applied (for
 * Q4_0: nibble - 8; IQ4: the table's values; MXFP4: the doubled E2M1 values with
 * d_w = half the block scale).
 */
#ifndef LINNET_KERNELS_H
#define LINNET_KERNELS_H

#include "attention.h"

#include <linnet/stream.h>
#include <stddef.h>
#include <stdint.h>

enum linnet_act {
	LINNET_ACT_F32,
	LINNET_ACT_Q32,
	LINNET_ACT_Q32_POW2,
	LINNET_ACT_Q256,
	LINNET_ACT_COUNT,
};

/* What a type is; block_elems 0: not a type. */
struct linnet_type_info {
	const char *name;		/* "Q4_0" */
	uint32_t block_elems;
	uint32_t block_bytes;
	enum linnet_act act;		/* activations that its products take */
};

/* NULL for a number that is not a supported type (I32 is one, without products). */
const struct linnet_type_info *linnet_type_info(uint32_t type);

/* Bytes of n elements; n must be a multiple of the block. */
static inline uint64_t linnet_row_bytes(const struct linnet_type_info *t, uint64_t n)
{
	return n / t->block_elems * t->block_bytes;
}

/*
 * Activations of n_tokens rows of n_cols, packed by act_pack() in a layout that
 * is private to the implementation. buf is 64-byte aligned and holds
 * act_bytes(act, n_cols, n_tokens).
 */
struct linnet_act_buf {
	void *buf;
	size_t n_cols;
	size_t n_tokens;
};

/*
 * y[t * ldy + r - row0] for rows r in [row0, row1) of the weight matrix, all tokens of
 * the activations: y points at row row0 of token 0; ldy counts floats. bias (or NULL)
 * is indexed by row and added last: y = product + bias[r]. scratch is 64-byte
 * aligned, of matmul_scratch() bytes, private to the calling thread. Any
 * n_cols that is a multiple of the type's block, any row0 <= row1, any alignment
 * of w (1) and y (4). Reads no byte outside [w, w + n_rows * row_bytes).
 */
struct linnet_matmul {
	float *y;
	size_t ldy;
	const void *w;			/* row 0 */
	size_t row_bytes;		/* between rows */
	size_t n_rows;			/* of the whole matrix: the limit of prefetching */
	size_t row0, row1;
	const float *bias;
	const struct linnet_act_buf *act;
	void *scratch;
};

struct linnet_limits {
	/* Read n bytes at p, any alignment, as fast as this level can; nothing of use. */
	uint64_t (*read)(const void *p, size_t n);
	/* n rounds of the level's int8 products, registers alone. Returns the operations: a
	 * product and its sum are two. NULL: no measure of this level. */
	uint64_t (*int8)(uint64_t n);
};

struct linnet_kernels {
	const char *isa;

	/* x[0..n) of a row; exact. n is a multiple of the block. */
	void (*dequantize[LINNET_TYPE_COUNT])(float *x, const void *row, size_t n);

	/* Never shrinks with n_tokens, and n tokens take at most what act_granule tokens
	 * take, times the granules they begin. */
	size_t (*act_bytes)(enum linnet_act act, size_t n_cols, size_t n_tokens);
	/* Pack tokens [t0, t1) of x (row t at x + t * ldx). Calls for disjoint
	 * ranges may run at the same time when their borders are multiples of
	 * act_granule tokens. n_cols is a multiple of the act's block. */
	void (*act_pack)(enum linnet_act act, const struct linnet_act_buf *dst,
			 const float *x, size_t ldx, size_t t0, size_t t1);
	size_t act_granule;

	/* Products; NULL for types that have none. */
	void (*matmul[LINNET_TYPE_COUNT])(const struct linnet_matmul *mm);
	/* Never shrinks with n_tokens. */
	size_t (*matmul_scratch)(uint32_t type, size_t n_cols, size_t n_tokens);
	/* Rows that a split between threads should be a multiple of. */
	size_t row_granule;
	/* Multiplications that a thread does in some milliseconds: no piece of work should be
	 * longer, for reads wait for its end, and who wants memory back or the run to stop. */
	uint64_t piece_work;

	/* dst = src / sqrt(mean(src^2) + eps) * weight (or NULL: 1), n elements; the
	 * mean is taken in 16 chains as in the F32 order */
	void (*rms_norm)(float *dst, const float *src, const float *weight, float eps, size_t n);
	void (*add)(float *dst, const float *a, const float *b, size_t n);
	/* dst = act(gate) * up, with the exp and tanh of ref/math.h */
	void (*glu[2])(float *dst, const float *gate, const float *up, size_t n);
	void (*softcap)(float *dst, const float *src, float cap, size_t n);
	/* one head: rotate r elements by the table, copy the other n - r */
	void (*rope[2])(float *dst, const float *src, const float *table, size_t r, size_t n);
	/* acc = fma(w, src, acc) */
	void (*axpy)(float *acc, float w, const float *src, size_t n);

	/* Put one head's row of d floats at position p (0..255) of a head block, by
	 * enum linnet_kv_role. */
	void (*kv_put[2])(uint32_t type, void *block, const float *src, size_t d, size_t p);
	/* Attention over one page, see attention.h. */
	struct linnet_attention_ops attn;

	/* What the machine could do, to hold the above against. */
	struct linnet_limits limits;
};

/*
 * Fill k for this CPU. level: NULL or "" for the best, or the name of a level.
 * -EINVAL: no such level; -ENOTSUP: this CPU or this build lacks it.
 */
int linnet_kernels_init(struct linnet_kernels *k, const char *level);
/* Names of the levels that this CPU can run, best first, NULL-terminated. */
const char *const *linnet_kernels_levels(void);

/* Fillers, one per folder and level; each overrides what it does better. */
void linnet_kernels_ref(struct linnet_kernels *k);
void linnet_kernels_avx2(struct linnet_kernels *k);
void linnet_kernels_avx512(struct linnet_kernels *k);
void linnet_kernels_neon(struct linnet_kernels *k);
void linnet_kernels_dotprod(struct linnet_kernels *k);

#endif
