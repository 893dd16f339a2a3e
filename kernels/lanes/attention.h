/* SPDX-License-Identifier: MIT */
/*
 * Attention over a page (kernels/attention.h) in sixteen lanes (README.rst). A lane is a
 * position while scores are made and a dimension while values are added, so neither
 * needs sums across lanes.
 *
 * Three passes: scores of all queries; exp, one query at a time; values. A block of
 * queries shares each load of K or V, and how many, times how many vectors each, fills
 * the registers. The including file says how many:
 *
 * SCORE_QUERIES, SCORE_TILES(nq)	F16 and F32 scores: queries at once, and tiles: 1, 2 or 4
 * SCORE8_QUERIES, SCORE8_TILES(nq)	Q8_0 and Q4_0 scores
 * VALUE_QUERIES, VALUE_VECTORS		F16 and F32 values: queries at once, and vectors: 2 or 4
 * VALUE8_QUERIES, VALUE8_VECTORS	Q8_0 and Q4_0 values; vectors: 1 or 2
 *
 * At decode memory is what counts: K and V are walked in address order as far as the
 * blocks allow and one stream of prefetches runs ahead of the reads, over K, V and the
 * next page's K; it goes on while exp and weights are computed.
 */
#include "kernels/attention.h"
#include "kernels/lanes/math.h"
#include "kernels/lanes/quant8.h"

#include <linnet/stream.h>
#include <stdbool.h>
#include <string.h>

#define TILE		LINNET_KV_TILE
#define PAGE		LINNET_KV_PAGE
#define GROUP		4		/* tiles whose scores are made together */
#define AHEAD_BYTES	12288		/* least distance of the prefetches */
#define REST_BYTES	4096		/* prefetched in each step that reads nothing */
#define MAX_SUMS	32		/* of any block */

/* Blocks of 32 with a scale; others are floats. */
static bool is_quantized(uint32_t type)
{
	return type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
}

/*
 * Packed queries, F16 and F32: float [n][dk].
 * Q8_0 and Q4_0, each: float scale [dk / 32], int32 [dk / 32][high, low] what sums begin with,
 * then digits int8 [dk / 4][high, low][4].
 */
static size_t query_stride(uint32_t type, size_t dk)
{
	return is_quantized(type) ? dk / 32 * (3 * 4) + 2 * dk : dk * sizeof(float);
}

/* Bytes of a row of n values in the cache. */
static size_t row_bytes_of(uint32_t type, size_t n)
{
	return type == LINNET_TYPE_Q8_0 ? n / 32 * 34 : type == LINNET_TYPE_Q4_0 ? n / 32 * 18 :
	       type == LINNET_TYPE_F32 ? 4 * n : 2 * n;
}

/* Sixteen values of a cache of floats, or the first n of them; size: bytes of a value. */
V16_INLINE v16 load_floats(const uint8_t *p, const int size)
{
	return size == 4 ? v16_load((const float *)p) : v16_load_f16(p);
}

V16_INLINE v16 load_floats_n(const uint8_t *p, const int size, size_t n)
{
	return size == 4 ? v16_load_n((const float *)p, n) : v16_load_f16_n(p, n);
}

static size_t query_bytes(uint32_t type, uint32_t n, uint32_t dk)
{
	return n * query_stride(type, dk);
}

static void prep_digits(uint8_t *buf, const float *src, size_t dk)
{
	float *scale = (float *)buf;
	int32_t *sum = (int32_t *)(scale + dk / 32);
	uint8_t *digits = (uint8_t *)(sum + 2 * (dk / 32));

	for (size_t b = 0; b < dk / 32; b++) {
		int8_t high[32] = { 0 }, low[32] = { 0 };
		float id;

		scale[b] = linnet_digits_step(&id, v16_max_magnitude(v16_load(src + 32 * b),
								      v16_load(src + 32 * b + 16)));
		for (size_t i = 0; id && i < 32; i += 16)
			v16_store_digits(high + i, low + i,
					 v16_mul(v16_load(src + 32 * b + i), v16_set(id)));
		sum[2 * b] = sum[2 * b + 1] = 0;
		for (int i = 0; i < 32; i++) {
			sum[2 * b] += high[i];
			sum[2 * b + 1] += low[i];
		}
		sum[2 * b] *= V16_DOT_BEGIN;
		sum[2 * b + 1] *= V16_DOT_BEGIN;
		for (size_t i = 0; i < 8; i++) {
			memcpy(digits + 64 * b + 8 * i, high + 4 * i, 4);
			memcpy(digits + 64 * b + 8 * i + 4, low + 4 * i, 4);
		}
	}
}

static void prep(const struct linnet_attn_query *q, const float *const *src)
{
	size_t stride = query_stride(q->type, q->dk);

	for (uint32_t i = 0; i < q->n; i++) {
		uint8_t *buf = (uint8_t *)q->buf + i * stride;

		if (is_quantized(q->type))
			prep_digits(buf, src[i], q->dk);
		else
			memcpy(buf, src[i], stride);
	}
}

/* The bytes that will be read, in order. */
struct ahead {
	const uint8_t *k, *v, *next;
	size_t k_bytes, v_bytes, distance;
};

/* What is to be prefetched when offset `at` of K and then V is read. */
static const uint8_t *ahead_of(const struct ahead *a, size_t at)
{
	at += a->distance;
	if (at < a->k_bytes)
		return a->k + at;
	at -= a->k_bytes;
	return at < a->v_bytes ? a->v + at : a->next + (at - a->v_bytes);
}

/*
 * Part i of n of what is to be prefetched while nothing is read, `skip` parts of which have
 * been: memory should not rest while exp is computed. Many queries do not wait for it.
 */
static void prefetch_rest(const struct ahead *a, size_t at, size_t skip, uint32_t i, uint32_t n)
{
	const size_t bytes = REST_BYTES / n / 64 * 64;
	const uint8_t *p = ahead_of(a, at + skip * REST_BYTES + i * bytes);

	if (n > 8)
		return;
	for (size_t k = 0; k < bytes; k += 64)
		v16_prefetch(p + k);
}

/* ---- scores ---- */

/*
 * For loops whose bounds the compiler knows once a function is inlined. They are not
 * nested: j counts query j / m, vector or tile j % m. clang unrolls early enough to keep
 * the arrays in registers only when told to unroll in full.
 */
#ifndef UNROLL
#ifdef __clang__
#define UNROLL	_Pragma("clang loop unroll(full)")
#else
#define UNROLL	_Pragma("GCC unroll 32")
#endif
#endif

/* s[i * PAGE + ...] of nq queries and m tiles */
V16_INLINE void scores_floats(float *s, const float *q, size_t dk, const uint8_t *k,
			      const uint8_t *ahead, float scale, const int size, const int nq,
			      const int m)
{
	size_t tile_bytes = TILE * size * dk;
	v16 acc[MAX_SUMS], x[GROUP];

	UNROLL
	for (int j = 0; j < nq * m; j++)
		acc[j] = v16_zero();
	for (size_t d = 0; d < dk; d++) {
		UNROLL
		for (int t = 0; t < m; t++) {
			x[t] = load_floats(k + t * tile_bytes + size * TILE * d, size);
			v16_prefetch(ahead + t * tile_bytes + size * TILE * d);
		}
		UNROLL
		for (int j = 0; j < nq * m; j++)
			acc[j] = v16_fma(v16_set(q[j / m * dk + d]), x[j % m], acc[j]);
	}
	UNROLL
	for (int j = 0; j < nq * m; j++)
		v16_store(s + j / m * PAGE + TILE * (j % m), v16_mul(acc[j], v16_set(scale)));
}

/* bits: of an integer, 8 or 4. */
V16_INLINE void scores_quantized(float *s, const uint8_t *q, size_t dk, const uint8_t *k,
				 const uint8_t *ahead, float scale, const int bits, const int nq,
				 const int m)
{
	/* of a tile's block of 32 dimensions: scales, and all */
	const size_t scales = 2 * TILE, block = scales + TILE * 4 * bits;
	size_t tile_bytes = dk / 32 * block, stride = query_stride(LINNET_TYPE_Q8_0, dk);
	const float *steps = (const float *)q;
	const int32_t *sums = (const int32_t *)(q + 4 * (dk / 32));
	const int32_t *digits = sums + 2 * (dk / 32);
	v16 acc[MAX_SUMS / 2], step[GROUP];

	stride /= 4;	/* of floats and of int32 */
	UNROLL
	for (int j = 0; j < nq * m; j++)
		acc[j] = v16_zero();
	for (size_t b = 0; b < dk / 32; b++) {
		v16_int high[MAX_SUMS / 2], low[MAX_SUMS / 2];

		UNROLL
		for (int j = 0; j < nq * m; j++) {
			high[j] = v16_int_set(sums[j / m * stride + 2 * b]);
			low[j] = v16_int_set(sums[j / m * stride + 2 * b + 1]);
		}
		UNROLL
		for (int t = 0; t < m; t++) {
			step[t] = v16_load_f16(k + t * tile_bytes + scales * b);
			v16_prefetch(ahead + t * tile_bytes + block * b + block - scales);
		}
		for (size_t d = 8 * b; d < 8 * b + 8; d++) {
			/* 64 bytes hold 4 dimensions, or 8: in low nibbles, then in high ones */
			size_t at = 4 * TILE * (bits == 8 ? d : d / 2);
			v16_bytes x[GROUP];

			UNROLL
			for (int t = 0; t < m; t++) {
				const uint8_t *p = k + t * tile_bytes + dk + at;

				x[t] = bits == 8 ? v16_load_bytes(p) :
				       d % 2 ? v16_load_high(p) : v16_load_low(p);
				if (bits == 8 || d % 2)
					v16_prefetch(ahead + t * tile_bytes + scales * b + at);
			}
			UNROLL
			for (int j = 0; j < nq * m; j++) {
				high[j] = v16_dot(high[j], x[j % m],
						  digits[j / m * stride + 2 * d]);
				low[j] = v16_dot(low[j], x[j % m],
						 digits[j / m * stride + 2 * d + 1]);
			}
		}
		UNROLL
		for (int j = 0; j < nq * m; j++) {
			v16 scale_of = v16_mul(step[j % m], v16_set(steps[j / m * stride + b]));

			acc[j] = v16_fma(v16_from_int(v16_join_digits(high[j], low[j])), scale_of,
					 acc[j]);
		}
	}
	UNROLL
	for (int j = 0; j < nq * m; j++)
		v16_store(s + j / m * PAGE + TILE * (j % m), v16_mul(acc[j], v16_set(scale)));
}

/* ---- exp ---- */

/* Lanes of the tile at p that are within [lo, hi). */
V16_INLINE v16_mask tile_range(size_t p, size_t lo, size_t hi)
{
	return v16_range(p < lo ? lo - p : 0, hi - p < TILE ? hi - p : TILE);
}

/*
 * The largest of scores [lo, hi), made soft before. Returns whether they are calm: all
 * finite and so near to it that exp2 has no special case to mind.
 */
static bool soften(float *s, size_t lo, size_t hi, float cap, float *largest)
{
	v16 max = v16_set(-INFINITY), min = v16_set(INFINITY), all = v16_zero();
	v16 some = v16_zero();
	size_t first = lo / TILE * TILE;
	float m;

	for (size_t p = first; cap && p < hi; p += TILE)
		v16_store(s + p, v16_mul(v16_set(cap * LINNET_LOG2_E),
					 v16_tanh(v16_div(v16_load(s + p), v16_set(cap)))));
	/* lanes that are not in the range take a score that is */
	some = v16_set(s[lo]);
	for (size_t p = first; p < hi; p += TILE) {
		v16 x = v16_load(s + p);

		if (p < lo || p + TILE > hi)
			x = v16_select(tile_range(p, lo, hi), x, some);
		max = v16_max(x, max);
		min = v16_min(x, min);
		all = v16_add(all, x);
	}
	m = v16_largest(max) + 0.0f;	/* -0 becomes +0 */
	*largest = m;
	/* a sum that is not finite leaves NaN, which no comparison holds for */
	return v16_all(v16_le(v16_set(LINNET_EXP2_MIN),
			      v16_add(v16_sub(min, v16_set(m)), v16_sub(all, all))));
}

/* Scores [lo, hi) become e, 0 in what their tiles have beyond; returns the sum. */
V16_INLINE float exp_of_scores(float *s, size_t lo, size_t hi, float max, const bool calm)
{
	v16 sum = v16_zero();

	for (size_t p = lo / TILE * TILE; p < hi; p += TILE) {
		v16 x = v16_sub(v16_load(s + p), v16_set(max));
		v16 e = calm ? v16_exp2_of_small(x) : v16_exp2_of_negative(x);

		if (p < lo || p + TILE > hi)
			e = v16_select(tile_range(p, lo, hi), e, v16_zero());
		sum = v16_add(sum, e);
		v16_store(s + p, e);
	}
	return v16_sum(sum);
}

/* ---- values ---- */

/* out[i * ld + ...] of nq queries, m vectors of dimensions: n positions whose rows are
 * row_bytes apart. part: elements of the only vector, 16 unless it is the last. */
V16_INLINE void values_floats(float *out, size_t ld, const float *e, size_t n, const uint8_t *v,
			      size_t row_bytes, const uint8_t *ahead, size_t part, const int size,
			      const int nq, const int m)
{
	v16 acc[MAX_SUMS], x[GROUP];
	bool whole = m > 1 || part == 16;

	UNROLL
	for (int j = 0; j < nq * m; j++)
		acc[j] = whole ? v16_load(out + j / m * ld + 16 * (j % m)) :
				 v16_load_n(out + j * ld, part);
	for (size_t p = 0; p < n; p++) {
		UNROLL
		for (int t = 0; t < m; t++) {
			x[t] = whole ? load_floats(v + p * row_bytes + 16 * size * t, size) :
				       load_floats_n(v + p * row_bytes, size, part);
			if (size == 4 || !(t & 1))
				v16_prefetch(ahead + 16 * size * (p * m + t));
		}
		UNROLL
		for (int j = 0; j < nq * m; j++)
			acc[j] = v16_fma(v16_set(e[j / m * PAGE + p]), x[j % m], acc[j]);
	}
	UNROLL
	for (int j = 0; j < nq * m; j++) {
		if (whole)
			v16_store(out + j / m * ld + 16 * (j % m), acc[j]);
		else
			v16_store_n(out + j * ld, acc[j], part);
	}
}

/* A query's weights of a block of V as digits W = 128 * high + low, low in 0..127. */
struct weights {
	int8_t high[PAGE], low[PAGE];
	float step;
	int32_t begin;		/* of a sum of W times nibbles: what takes 8 off each */
	int32_t unused[14];
};

/* What a sum of products with nibbles [first, last) begins with: -8 times each weight. */
V16_INLINE int32_t begin_of_nibbles(const struct weights *w, size_t first, size_t last)
{
	static const int8_t ones[4] = { 1, 1, 1, 1 };
	v16_int high = v16_int_set(0), low = high;
	int32_t sum;
	size_t t = first;

	/* sums of 64 digits, but not beyond the last */
	for (; t + 64 <= last; t += 64) {
		high = v16_dot_7x8(high, v16_four_bytes(ones), v16_load_signed(w->high + t));
		low = v16_dot_7x8(low, v16_four_bytes(ones), v16_load_signed(w->low + t));
	}
	sum = v16_int_sum(v16_join_digits(high, low));
	for (; t < last; t++)
		sum += 128 * w->high[t] + w->low[t];
	return -8 * sum;
}

/* Weights of all positions of a page. scales: of a block of V, their magnitudes if q8. */
V16_INLINE void page_weights_of(struct weights *w, const float *e, const float *scales,
				const bool q8)
{
	v16 y[PAGE / TILE], max = v16_zero();
	float id;

	UNROLL
	for (int t = 0; t < PAGE / TILE; t++) {
		y[t] = v16_mul(v16_load(e + TILE * t), v16_load(scales + TILE * t));
		max = v16_larger_magnitude(max, y[t]);
	}
	w->step = linnet_digits_step(&id, v16_max_magnitude(max, max));
	if (!id) {
		memset(w->high, 0, PAGE);
		memset(w->low, 0, PAGE);
		w->begin = 0;
		return;
	}
	UNROLL
	for (int t = 0; t < PAGE / TILE; t += 4)
		v16_store_digits_64(w->high + TILE * t, w->low + TILE * t,
				    v16_mul(y[t], v16_set(id)), v16_mul(y[t + 1], v16_set(id)),
				    v16_mul(y[t + 2], v16_set(id)), v16_mul(y[t + 3], v16_set(id)));
	w->begin = q8 ? 0 : begin_of_nibbles(w, 0, PAGE);
}

/* The same of positions [lo, hi), 0 for the rest of [first, last), which are whole tiles. */
V16_INLINE void weights_of(struct weights *w, const float *e, size_t lo, size_t hi, size_t first,
			   size_t last, const float *scales, const bool q8)
{
	v16 max = v16_zero();
	_Alignas(64) float x[PAGE];
	float id;

	if (hi - lo == PAGE) {
		page_weights_of(w, e, scales, q8);
		return;
	}
	for (size_t t = first; t < last; t += TILE) {
		v16 y = v16_load(scales + t);

		if (t >= lo && t + TILE <= hi)
			y = v16_mul(v16_load(e + t), y);
		else if (t < hi && t + TILE > lo)
			y = v16_select(tile_range(t, lo, hi), v16_mul(v16_load(e + t), y),
				       v16_zero());
		else
			y = v16_zero();
		max = v16_larger_magnitude(max, y);
		v16_store(x + t, y);
	}
	w->step = linnet_digits_step(&id, v16_max_magnitude(max, max));
	if (id) {
		for (size_t t = first; t < last; t += TILE)
			v16_store_digits(w->high + t, w->low + t,
					 v16_mul(v16_load(x + t), v16_set(id)));
	} else {
		memset(w->high + first, 0, last - first);
		memset(w->low + first, 0, last - first);
	}
	w->begin = q8 || !id ? 0 : begin_of_nibbles(w, first, last);
}

/* float [n][PAGE]: scores, then exp of them; struct weights [n] for quantized types */
static size_t page_scratch(uint32_t type, uint32_t n, uint32_t dk, uint32_t dv)
{
	return n * (PAGE * sizeof(float) + (is_quantized(type) ? sizeof(struct weights) : 0));
}

/* Groups [g0, g1) of four positions of a block of V, m vectors of its 32 dimensions from the
 * v0th on, for nq queries. bits: of an integer, 8 or 4. */
V16_INLINE void values_quantized(float *out, size_t ld, const struct weights *w, size_t g0,
				 size_t g1, const uint8_t *values, const uint8_t *ahead,
				 const int bits, const int nq, const int m, const int v0)
{
	v16_int high[MAX_SUMS / 2], low[MAX_SUMS / 2];

	UNROLL
	for (int j = 0; j < nq * m; j++) {
		high[j] = v16_int_set(0);
		low[j] = v16_int_set(w[j / m].begin);
	}
	for (size_t g = g0; g < g1; g++) {
		v16_bytes x[2];

		UNROLL
		for (int t = 0; t < m; t++) {
			if (bits == 8)
				x[t] = v16_load_signed(values + 128 * g + 64 * (v0 + t));
			else if (v0 + t == 0)
				x[t] = v16_load_low_nibbles(values + 64 * g);
			else
				x[t] = v16_load_high_nibbles(values + 64 * g);
			if (bits == 8 || !t)
				v16_prefetch(ahead + 16 * bits * g + 64 * t);
		}
		UNROLL
		for (int j = 0; j < nq * m; j++) {
			v16_bytes h = v16_four_bytes(w[j / m].high + 4 * g);
			v16_bytes l = v16_four_bytes(w[j / m].low + 4 * g);

			high[j] = bits == 8 ? v16_dot_7x8(high[j], h, x[j % m]) :
					      v16_dot_7x8(high[j], x[j % m], h);
			low[j] = bits == 8 ? v16_dot_7x8(low[j], l, x[j % m]) :
					     v16_dot_7x8(low[j], x[j % m], l);
		}
	}
	UNROLL
	for (int j = 0; j < nq * m; j++)
		v16_store(out + j / m * ld + 16 * (v0 + j % m),
			  v16_mul(v16_from_int(v16_join_digits(high[j], low[j])),
				  v16_set(w[j / m].step)));
}

/* ---- blocks of queries ---- */

/* Calls with a number of queries that the compiler knows. */
#define EACH_NQ(nq, max, call) do {					\
	switch (nq) {							\
	case 1: call(1); break;						\
	case 2: call(2); break;						\
	case 3: if (max >= 3) call((max >= 3 ? 3 : 1)); break;		\
	case 4: if (max >= 4) call((max >= 4 ? 4 : 1)); break;		\
	case 5: if (max >= 5) call((max >= 5 ? 5 : 1)); break;		\
	case 6: if (max >= 6) call((max >= 6 ? 6 : 1)); break;		\
	}								\
} while (0)

/* Queries of the next block when `left` are: as even as can be. */
static uint32_t block_of(uint32_t left, uint32_t max)
{
	uint32_t blocks = (left + max - 1) / max;

	return (left + blocks - 1) / blocks;
}

/* All tiles of a group. */
#define SCORES_FLOATS(nq, size)								\
	for (int t = 0; t < GROUP; t += SCORE_TILES(nq))				\
		scores_floats(s + TILE * t, (const float *)buf, dk, k + t * tile_bytes,	\
			      ahead + t * tile_bytes, scale, size, nq, SCORE_TILES(nq))
#define SCORES_F16(nq) SCORES_FLOATS(nq, 2)
#define SCORES_F32(nq) SCORES_FLOATS(nq, 4)

__attribute__((noinline))
static void group_f16(float *s, const uint8_t *buf, size_t dk, const uint8_t *k,
		      const uint8_t *ahead, float scale, uint32_t nq)
{
	size_t tile_bytes = TILE * 2 * dk;

	EACH_NQ(nq, SCORE_QUERIES, SCORES_F16);
}

__attribute__((noinline))
static void group_f32(float *s, const uint8_t *buf, size_t dk, const uint8_t *k,
		      const uint8_t *ahead, float scale, uint32_t nq)
{
	size_t tile_bytes = TILE * 4 * dk;

	EACH_NQ(nq, SCORE_QUERIES, SCORES_F32);
}

#define SCORES_QUANTIZED(nq, bits)							\
	for (int t = 0; t < GROUP; t += SCORE8_TILES(nq))				\
		scores_quantized(s + TILE * t, buf, dk, k + t * tile_bytes,		\
				 ahead + t * tile_bytes, scale, bits, nq, SCORE8_TILES(nq))
#define SCORES_Q8_0(nq) SCORES_QUANTIZED(nq, 8)
#define SCORES_Q4_0(nq) SCORES_QUANTIZED(nq, 4)

__attribute__((noinline))
static void group_q8_0(float *s, const uint8_t *buf, size_t dk, const uint8_t *k,
		       const uint8_t *ahead, float scale, uint32_t nq)
{
	size_t tile_bytes = TILE * (dk / 32 * 34);

	EACH_NQ(nq, SCORE8_QUERIES, SCORES_Q8_0);
}

__attribute__((noinline))
static void group_q4_0(float *s, const uint8_t *buf, size_t dk, const uint8_t *k,
		       const uint8_t *ahead, float scale, uint32_t nq)
{
	size_t tile_bytes = TILE * (dk / 32 * 18);

	EACH_NQ(nq, SCORE8_QUERIES, SCORES_Q4_0);
}

#define VALUES_FLOATS(nq, size) do {							\
	for (; d + 16 * VALUE_VECTORS <= dv; d += 16 * VALUE_VECTORS) {			\
		values_floats(out + d, ld, e + lo, hi - lo, v + size * (lo * dv + d),	\
			      size * dv, ahead, 16, size, nq, VALUE_VECTORS);		\
		ahead += 16 * size * VALUE_VECTORS * (hi - lo);				\
	}										\
	for (; d < dv; d += 16)								\
		values_floats(out + d, ld, e + lo, hi - lo, v + size * (lo * dv + d),	\
			      size * dv, ahead, dv - d < 16 ? dv - d : 16, size, nq, 1);	\
} while (0)
#define VALUES_F16(nq) VALUES_FLOATS(nq, 2)
#define VALUES_F32(nq) VALUES_FLOATS(nq, 4)

#define VALUES_QUANTIZED(nq, bits) do {							\
	values_quantized(out, ld, w, g0, g1, values, ahead, bits, nq, VALUE8_VECTORS, 0);	\
	if (VALUE8_VECTORS == 1)							\
		values_quantized(out, ld, w, g0, g1, values, values, bits, nq, 1, 1);	\
} while (0)
#define VALUES_Q8_0(nq) VALUES_QUANTIZED(nq, 8)
#define VALUES_Q4_0(nq) VALUES_QUANTIZED(nq, 4)

/* Products of weights and 32 dimensions of nq queries. */
__attribute__((noinline))
static void values_q8_0(float *out, size_t ld, const struct weights *w, size_t g0, size_t g1,
			const uint8_t *values, const uint8_t *ahead, uint32_t nq)
{
	EACH_NQ(nq, VALUE8_QUERIES, VALUES_Q8_0);
}

__attribute__((noinline))
static void values_q4_0(float *out, size_t ld, const struct weights *w, size_t g0, size_t g1,
			const uint8_t *values, const uint8_t *ahead, uint32_t nq)
{
	EACH_NQ(nq, VALUE8_QUERIES, VALUES_Q4_0);
}

/* Add positions [lo, hi) to nq queries. */
__attribute__((noinline))
static void add_f16(float *out, size_t ld, const float *e, size_t lo, size_t hi,
		    const uint8_t *v, size_t dv, const uint8_t *ahead, uint32_t nq)
{
	size_t d = 0;

	EACH_NQ(nq, VALUE_QUERIES, VALUES_F16);
}

__attribute__((noinline))
static void add_f32(float *out, size_t ld, const float *e, size_t lo, size_t hi,
		    const uint8_t *v, size_t dv, const uint8_t *ahead, uint32_t nq)
{
	size_t d = 0;

	EACH_NQ(nq, VALUE_QUERIES, VALUES_F32);
}

/* What queries [i, i + n) see: all of [lo, hi) some of them, all of [all_lo, all_hi)
 * each; empty when lo >= hi, all_lo >= all_hi. */
struct sight {
	size_t lo, hi, all_lo, all_hi;
};

static struct sight sight_of(const struct linnet_attn_page *p, uint32_t i, uint32_t n)
{
	struct sight r = { .lo = PAGE, .all_hi = PAGE };

	for (; n--; i++) {
		if (p->lo[i] > r.all_lo)
			r.all_lo = p->lo[i];
		if (p->hi[i] < r.all_hi)
			r.all_hi = p->hi[i];
		if (p->lo[i] == p->hi[i])
			continue;
		if (p->lo[i] < r.lo)
			r.lo = p->lo[i];
		if (p->hi[i] > r.hi)
			r.hi = p->hi[i];
	}
	return r;
}

static size_t at_least(size_t a, size_t b) { return a > b ? a : b; }
static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

static void page_scores(const struct linnet_attn_query *q, const struct linnet_attn_page *p,
			const struct ahead *ahead, const struct sight *page)
{
	bool quantized = is_quantized(q->type);
	size_t tile_bytes = TILE * row_bytes_of(q->type, q->dk);
	size_t stride = query_stride(q->type, q->dk);
	/* to base 2, unless they have to be made soft before */
	const float scale = q->softcap ? q->scale : q->scale * LINNET_LOG2_E;
	void (*const group)(float *, const uint8_t *, size_t, const uint8_t *, const uint8_t *,
			    float, uint32_t) =
		q->type == LINNET_TYPE_Q8_0 ? group_q8_0 :
		q->type == LINNET_TYPE_Q4_0 ? group_q4_0 :
		q->type == LINNET_TYPE_F32 ? group_f32 : group_f16;

	for (size_t t = page->lo / (GROUP * TILE) * GROUP; t * TILE < page->hi; t += GROUP) {
		const uint8_t *k = (const uint8_t *)p->k + t * tile_bytes;
		const uint8_t *next = ahead_of(ahead, t * tile_bytes);

		for (uint32_t i = 0, n; i < q->n; i += n) {
			const uint8_t *buf = (const uint8_t *)q->buf + i * stride;
			float *s = (float *)p->scratch + (size_t)i * PAGE + t * TILE;
			struct sight see;

			n = block_of(q->n - i, quantized ? SCORE8_QUERIES : SCORE_QUERIES);
			see = sight_of(p, i, n);
			if (see.lo >= (t + GROUP) * TILE || see.hi <= t * TILE)
				continue;
			group(s, buf, q->dk, k, next, scale, n);
			next = k;	/* what is ahead is on its way */
		}
	}
}

static void page_values_quantized(const struct linnet_attn_query *q,
				  const struct linnet_attn_page *p, const struct ahead *ahead,
				  const struct sight *page)
{
	const bool q8 = q->type == LINNET_TYPE_Q8_0;
	const size_t block_bytes = PAGE * row_bytes_of(q->type, 32);
	const size_t first = page->lo / TILE * TILE, last = (page->hi + TILE - 1) / TILE * TILE;
	struct weights *w = (struct weights *)((float *)p->scratch + (size_t)q->n * PAGE);

	for (size_t b = 0; b < q->dv / 32; b++) {
		const uint8_t *block = (const uint8_t *)p->v + b * block_bytes;
		const uint8_t *values = block + 2 * PAGE;
		const uint8_t *next = ahead_of(ahead, ahead->k_bytes + b * block_bytes + 2 * PAGE);
		_Alignas(64) float scales[PAGE];

		for (size_t t = first; t < last; t += TILE) {
			v16 scale = v16_load_f16(block + 2 * t);

			v16_store(scales + t, q8 ? v16_abs(scale) : scale);
		}
		for (uint32_t i = 0; i < q->n; i++) {
			const float *e = (const float *)p->scratch + (size_t)i * PAGE;

			prefetch_rest(ahead, ahead->k_bytes + b * block_bytes, !b, i, q->n);
			if (q8)
				weights_of(&w[i], e, p->lo[i], p->hi[i], first, last, scales, true);
			else
				weights_of(&w[i], e, p->lo[i], p->hi[i], first, last, scales, false);
		}
		for (uint32_t i = 0, n; i < q->n; i += n) {
			n = block_of(q->n - i, VALUE8_QUERIES);
			(q8 ? values_q8_0 : values_q4_0)(p->out + i * p->ld_out + 32 * b, p->ld_out,
							 &w[i], page->lo / 4, (page->hi + 3) / 4,
							 values, next, n);
			next = values;
		}
	}
}

static void page_values(const struct linnet_attn_query *q, const struct linnet_attn_page *p,
			const struct ahead *ahead, const struct sight *page)
{
	size_t row_bytes = row_bytes_of(q->type, q->dv), step = q->n > 8 ? 128 : 32;
	void (*const add)(float *, size_t, const float *, size_t, size_t, const uint8_t *, size_t,
			  const uint8_t *, uint32_t) =
		q->type == LINNET_TYPE_F32 ? add_f32 : add_f16;

	/* A few rows at a time, which stay near while blocks of queries and of dimensions
	 * go over them. */
	for (size_t lo = page->lo / step * step; lo < page->hi; lo += step) {
		const uint8_t *next = ahead_of(ahead, ahead->k_bytes + lo * row_bytes);

		for (uint32_t i = 0, n; i < q->n; i += n) {
			float *out = p->out + i * p->ld_out;
			const float *e = (const float *)p->scratch + (size_t)i * PAGE;
			struct sight see;

			n = block_of(q->n - i, VALUE_QUERIES);
			see = sight_of(p, i, n);
			if (see.all_lo >= see.all_hi)
				see.all_lo = see.all_hi = PAGE;
			for (uint32_t j = 0; j < n; j++) {
				size_t a = at_least(lo, p->lo[i + j]);
				size_t b = at_most(at_most(lo + step, p->hi[i + j]), see.all_lo);

				if (a < b)
					add(out + j * p->ld_out, p->ld_out, e + j * PAGE, a, b,
					    p->v, q->dv, next, 1);
			}
			if (at_least(lo, see.all_lo) < at_most(lo + step, see.all_hi))
				add(out, p->ld_out, e, at_least(lo, see.all_lo),
				    at_most(lo + step, see.all_hi), p->v, q->dv, next, n);
			for (uint32_t j = 0; j < n; j++) {
				size_t a = at_least(lo, see.all_hi);
				size_t b = at_most(lo + step, p->hi[i + j]);

				if (a < b)
					add(out + j * p->ld_out, p->ld_out, e + j * PAGE, a, b,
					    p->v, q->dv, next, 1);
			}
			next = p->v;
		}
	}
}

/* Scores become e. Some queries at a time, as a largest score is long in coming. */
static void page_exp(const struct linnet_attn_query *q, const struct linnet_attn_page *p,
		     const struct ahead *ahead)
{
	enum { AT_ONCE = 4 };

	for (uint32_t i = 0; i < q->n; i += AT_ONCE) {
		uint32_t n = q->n - i < AT_ONCE ? q->n - i : AT_ONCE;
		float *s = (float *)p->scratch + (size_t)i * PAGE;
		bool calm[AT_ONCE];

		for (uint32_t j = 0; j < n; j++) {
			prefetch_rest(ahead, ahead->k_bytes, 0, i + j, q->n);
			calm[j] = p->lo[i + j] < p->hi[i + j] &&
				  soften(s + j * PAGE, p->lo[i + j], p->hi[i + j], q->softcap,
					 &p->state[i + j].max);
		}
		for (uint32_t j = 0; j < n; j++) {
			const size_t lo = p->lo[i + j], hi = p->hi[i + j];
			struct linnet_attn_state *state = &p->state[i + j];

			if (calm[j])
				state->sum = exp_of_scores(s + j * PAGE, lo, hi, state->max, true);
			else if (lo < hi)
				state->sum = exp_of_scores(s + j * PAGE, lo, hi, state->max, false);
		}
	}
}

static void page(const struct linnet_attn_query *q, const struct linnet_attn_page *p)
{
	size_t group_bytes = GROUP * TILE * row_bytes_of(q->type, q->dk);
	struct sight see = sight_of(p, 0, q->n);
	struct ahead ahead = {
		.k = p->k, .v = p->v, .next = p->next_k ? p->next_k : p->v,
		.k_bytes = PAGE / (GROUP * TILE) * group_bytes,
		.v_bytes = PAGE * row_bytes_of(q->type, q->dv),
		.distance = (AHEAD_BYTES + group_bytes - 1) / group_bytes * group_bytes,
	};

	for (uint32_t i = 0; i < q->n; i++) {
		p->state[i] = (struct linnet_attn_state) { -INFINITY, 0 };
		memset(p->out + i * p->ld_out, 0, q->dv * sizeof(*p->out));
	}
	page_scores(q, p, &ahead, &see);
	page_exp(q, p, &ahead);
	if (is_quantized(q->type) && see.lo < see.hi)
		page_values_quantized(q, p, &ahead, &see);
	else
		page_values(q, p, &ahead, &see);
}

/* ---- combining ---- */

static void combine(struct linnet_attn_state *acc, float *acc_out,
		    const struct linnet_attn_state *part, const float *part_out, size_t dv)
{
	float max, a, b;
	size_t d = 0;

	if (part->sum == 0)
		return;
	if (acc->sum == 0) {
		*acc = *part;
		memcpy(acc_out, part_out, dv * sizeof(*acc_out));
		return;
	}
	max = part->max > acc->max ? part->max : acc->max;
	a = linnet_exp2f(acc->max - max);
	b = linnet_exp2f(part->max - max);
	acc->max = max;
	acc->sum = __builtin_fmaf(acc->sum, a, part->sum * b);
	for (; d + 16 <= dv; d += 16)
		v16_store(acc_out + d, v16_fma(v16_load(acc_out + d), v16_set(a),
					       v16_mul(v16_load(part_out + d), v16_set(b))));
	if (d < dv)
		v16_store_n(acc_out + d, v16_fma(v16_load_n(acc_out + d, dv - d), v16_set(a),
						 v16_mul(v16_load_n(part_out + d, dv - d),
							 v16_set(b))), dv - d);
}

static void finish(float *dst, const struct linnet_attn_state *acc, const float *acc_out,
		   size_t dv)
{
	size_t d = 0;

	if (acc->sum == 0) {
		memset(dst, 0, dv * sizeof(*dst));
		return;
	}
	for (; d + 16 <= dv; d += 16)
		v16_store(dst + d, v16_div(v16_load(acc_out + d), v16_set(acc->sum)));
	if (d < dv)
		v16_store_n(dst + d, v16_div(v16_load_n(acc_out + d, dv - d), v16_set(acc->sum)),
			    dv - d);
}

#define LANES_ATTENTION {		\
	.query_bytes = query_bytes,	\
	.prep = prep,			\
	.page_scratch = page_scratch,	\
	.page = page,			\
	.combine = combine,		\
	.finish = finish,		\
}
