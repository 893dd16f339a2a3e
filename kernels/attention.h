/* SPDX-License-Identifier: MIT */
/*
 * Attention over paged KV, one page (LINNET_KV_PAGE positions) at a time. A page
 * gives each query a partial result {max, sum, out[dv]} over the positions
 * [lo, hi) of the page; partials are combined page after page in order, so decode
 * (pages in parallel, combined at the end) and prefill (one query tile walks over
 * its pages) give the same bits.
 *
 * score_p = cap(scale * dot(q, k_p)); the dot product runs over d in order, one
 * chain per position, with fused multiply-add (F16 KV). max is exact.
 * e_p = exp(score_p - max); sum in 16 chains by p mod 16, reduced like the F32
 * order of kernels.h; out[d] = fma(e_p, v_p[d], out[d]) over p in order.
 */
#ifndef LINNET_KERNELS_ATTENTION_H
#define LINNET_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

/* One query's partial or running result; out[dv] follows in memory, see `out`. */
struct linnet_attn_state {
	float max, sum;
};

/* Queries that share a KV head, packed by prep(). */
struct linnet_attn_query {
	uint32_t type;		/* of the KV cache: F16 or Q8_0 */
	uint32_t n;		/* queries */
	uint32_t dk, dv;
	float scale, softcap;	/* softcap 0: none */
	void *buf;		/* query_bytes(), 64-byte aligned */
};

struct linnet_attn_page {
	const void *k, *v;	/* the head's blocks of this page */
	const void *next_k;	/* block that will be read next, or NULL: for prefetching */
	const uint16_t *lo, *hi;/* [n]: positions of the page that query i sees; lo == hi: none */
	struct linnet_attn_state *state;	/* [n]: partial of this page */
	float *out;		/* [n][ld_out] */
	size_t ld_out;
	void *scratch;		/* page_scratch(), 64-byte aligned */
};

struct linnet_attention_ops {
	size_t (*query_bytes)(uint32_t type, uint32_t n, uint32_t dk);
	/* q[i] points at query i's dk floats */
	void (*prep)(const struct linnet_attn_query *q, const float *const *src);
	size_t (*page_scratch)(uint32_t type, uint32_t n, uint32_t dk, uint32_t dv);
	/* Overwrites state and out; a query that sees nothing gets {-inf, 0}, out 0. */
	void (*page)(const struct linnet_attn_query *q, const struct linnet_attn_page *p);
	/* acc := acc combined with one later partial; acc starts as {-inf, 0}, out 0 */
	void (*combine)(struct linnet_attn_state *acc, float *acc_out,
			const struct linnet_attn_state *part, const float *part_out, size_t dv);
	/* dst = out / sum */
	void (*finish)(float *dst, const struct linnet_attn_state *acc, const float *acc_out,
		       size_t dv);
};

#endif
