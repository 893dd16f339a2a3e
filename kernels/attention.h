/* SPDX-License-Identifier: MIT */
/*
 * Attention over paged KV, one page (LINNET_KV_PAGE positions) at a time. A page
 * gives each query a partial result {max, sum, out[dv]} over the positions
 * [lo, hi) of the page; partials are combined page after page in order, so decode
 * (pages in parallel, combined at the end) and prefill (one query tile walks over
 * its pages) give the same bits. Layouts of a page: enum linnet_kv_role.
 *
 * A page's partial
 * ----------------
 * Scores are to base 2: L = log2(e), rounded to a float, is a factor of the first constant.
 * score_p = (scale * L) * dot(q, k_p), or (softcap * L) * tanh(scale * dot(q, k_p) / softcap)
 * when softcap is not zero, over p in [lo, hi); other positions of the page count for
 * nothing, whatever their bytes.
 * max is the largest score (a zero counts as +0; NaN is passed over).
 * e_p = exp2(score_p - max), see ref/math.h; sum = the e_p in 16 chains by p mod 16, reduced
 * like the F32 order of kernels.h. So sum >= 1, or NaN when a score is NaN or max infinite.
 *
 * F16, F32:
 *       dot = fma(q[d], k_p[d], dot) over d in order, from 0;
 *       out[d] = fma(e_p, v_p[d], out[d]) over p in order, from 0
 * Q8_0, Q4_0: dot runs over blocks b of 32 dimensions in order, from 0:
 *       dot = fma((float)(sum over d of Q[d] * k_p[d], exact int32), dk_p[b] * dq[b], dot)
 *       where dq[b] = a / 16256 for the query block's largest magnitude a and
 *       Q[d] = round_to_even(q[d] * (16256 / a)). The query's error is at most a / 32512
 *       for each value.
 *       For each block of 32 dimensions w_p = e_p * dv_p[b], where Q8_0 takes the scale's
 *       magnitude; with their largest magnitude a: W_p = round_to_even(w_p * (16256 / a)),
 *       out[d] = (float)(sum over p of W_p * v_p[d], exact int32) * (a / 16256).
 *       A weight's error is at most a / 32512.
 * 16256 is 127 * 128: such an integer is two digits, each of which a byte holds, so that
 * products of bytes make these sums.
 *
 * A block of 32 (of a query, of what is written to such a cache) and the weights w_p, with
 * largest magnitude a, are zero when a < 1e-30, and NaN (scale NaN, integers 0) when a
 * value is infinite or NaN. A Q8_0 cache takes a / 127 rounded to half precision as its
 * scale and round_to_even(x * (127 / a)) as its integers. A Q4_0 cache takes m / -8 rounded
 * to half precision, where m is -a when that is among the values, else a, and the least of
 * 7 and round_to_even(x * (-8 / m)). A value's error is at most a / 254 in Q8_0 and a / 16
 * in Q4_0, where those within a / 16 of -m lose up to a / 8; both plus 2^-11 of the value,
 * for the scale's rounding.
 *
 * Combining
 * ---------
 * A partial with sum == 0 (a query that saw nothing) changes nothing, and the first
 * other one is copied. Then
 *	M = max(acc.max, part.max); a = exp2(acc.max - M); b = exp2(part.max - M)
 *	sum = fma(acc.sum, a, part.sum * b); out[d] = fma(acc.out[d], a, part.out[d] * b)
 */
#ifndef LINNET_KERNELS_ATTENTION_H
#define LINNET_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

/* One query's partial or running result; out[dv] is kept apart. */
struct linnet_attn_state {
	float max, sum;
};

/* Queries that share a KV head, packed by prep(). */
struct linnet_attn_query {
	/* of the KV cache: F16, F32 (any dk, dv), Q8_0, Q4_0 (multiples of 32) */
	uint32_t type;
	uint32_t n;		/* queries */
	uint32_t dk, dv;
	float scale, softcap;	/* softcap 0: none */
	void *buf;		/* query_bytes(), 64-byte aligned */
};

struct linnet_attn_page {
	const void *k, *v;	/* the head's blocks of this page */
	const void *next_k;	/* block that will be read next, or NULL: for prefetching */
	/* [n]: positions of the page that query i sees, 0 <= lo <= hi <= LINNET_KV_PAGE;
	 * lo == hi: none. Speed asks for neighbours that see nearly the same. */
	const uint16_t *lo, *hi;
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
	/* dst = out / sum; 0 when sum is 0. dst may be acc_out */
	void (*finish)(float *dst, const struct linnet_attn_state *acc, const float *acc_out,
		       size_t dv);
};

#endif
