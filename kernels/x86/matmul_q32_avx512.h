/* SPDX-License-Identifier: MIT */
/*
 * Products of one Q32 type, written once for all. The file of a type defines
 *
 *	BLOCK_BYTES
 *	BIAS_SHIFT	the weights' bias is 1 << BIAS_SHIFT; or
 *	HAS_MIN		the type has a minimum, and no bias
 *	load4(p, &lo, &hi)		4 blocks at p, first form of q32_avx512.h
 *	scales4(sc, p, row)		sc with the scales of 4 blocks at p merged in
 *	scale_floats(sc, &d, &m)	dword r of lane i: scale (minimum) of row r, block i
 *	unpack16(q, &d, &m, p, at)	16 rows of a block, second form
 *
 * includes this file and calls matmul_q32(). load4() and scales4() may read all of
 * the four blocks and nothing else.
 *
 * Few tokens: a step takes 4 rows times 4 blocks. Lane i is block i, and the chain of
 * the summation order at the same time; one conversion, one product of scales and one
 * fma serve 16 blocks. The 4 rows are a quarter of the range apart: four long streams
 * are what the memory likes most.
 *
 * Many tokens: 32 rows are unpacked into a panel, chain after chain, and go through a
 * register tile of 32 rows times 8 tokens. The accumulators of a tile stay in
 * registers for a whole chain and are then added to y, which gives the same order.
 */
#ifndef LINNET_KERNELS_X86_MATMUL_Q32_AVX512_H
#define LINNET_KERNELS_X86_MATMUL_Q32_AVX512_H

#include "kernels/x86/q32_avx512.h"

#ifndef HAS_MIN
#define HAS_MIN		0
#endif

/* -- few tokens ------------------------------------------------------------------ */

#define STEP_BYTES	(4 * BLOCK_BYTES)
/* Into the second cache well ahead, and from there on into the first. One prefetch into
 * the first cache alone has a sharp best distance, another one on every machine. */
#define STEP_FAR	3072
#define STEP_NEAR	512
#define ROWS_SKEW	3	/* keeps the streams off the same cache sets */

/* Every line of a step once, spread so that no line is skipped. */
ALWAYS_INLINE void prefetch_step(const uint8_t *p)
{
	prefetch_t1(p + STEP_FAR);
	prefetch_t0(p + STEP_NEAR);
	UNROLL
	for (int at = STEP_BYTES - 64; at > 0; at -= 64) {
		prefetch_t1(p + STEP_FAR + at);
		prefetch_t0(p + STEP_NEAR + at);
	}
}

/* acc[t] += 4 blocks of the rows at p[] times the group of token t */
ALWAYS_INLINE void step(__m512 *acc, const uint8_t *const p[4], const struct linnet_q32_group *g,
			const int n_tok)
{
	const __m512i rep = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
	__m512i lo[4], hi[4], sc = _mm512_setzero_si512();
	__m512 d, m;

	UNROLL
	for (int r = 0; r < 4; r++) {
		load4(p[r], &lo[r], &hi[r]);
		sc = scales4(sc, p[r], r);
	}
	scale_floats(sc, &d, &m);
	UNROLL
	for (int t = 0; t < n_tok; t++, g++) {
		const __m512i alo = _mm512_load_si512(g->q), ahi = _mm512_load_si512(g->q + 64);
		const __m512i meta = _mm512_load_si512(g->nsum);
		__m512 da = _mm512_castsi512_ps(_mm512_permutexvar_epi32(
			_mm512_add_epi32(rep, _mm512_set1_epi32(4)), meta));
		__m512i c[4], s;

		UNROLL
		for (int r = 0; r < 4; r++) {
			c[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), lo[r], alo);
			c[r] = _mm512_dpbusd_epi32(c[r], hi[r], ahi);
		}
		s = sum_lanes(c[0], c[1], c[2], c[3]);
#if !HAS_MIN
		s = _mm512_add_epi32(s, _mm512_slli_epi32(_mm512_permutexvar_epi32(rep, meta),
							  BIAS_SHIFT));
#endif
		acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(d, da), acc[t]);
#if HAS_MIN
		acc[t] = _mm512_fmadd_ps(m, _mm512_castsi512_ps(_mm512_permutexvar_epi32(
			_mm512_add_epi32(rep, _mm512_set1_epi32(8)), meta)), acc[t]);
#endif
	}
}

/* n_tok (a constant) tokens from t0 on */
ALWAYS_INLINE void few(const struct linnet_matmul *mm, size_t t0, const int n_tok)
{
	const size_t n = mm->row1 - mm->row0, n_blocks = mm->act->n_cols / 32;
	const size_t groups = linnet_q32_groups(mm->act->n_cols), tail_blocks = n_blocks % 4;
	const size_t quarter = (n + 3) / 4 + (n >= 64 ? ROWS_SKEW : 0);
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;

	for (size_t r = 0; r < quarter && r < n; r++) {
		const struct linnet_q32_group *g = (const struct linnet_q32_group *)mm->act->buf + t0;
		uint8_t tail[4][STEP_BYTES];
		const uint8_t *p[4];
		__m512 acc[LINNET_Q32_FEW];

		UNROLL
		for (int i = 0; i < 4; i++)
			p[i] = w + (r + i * quarter < n ? r + i * quarter : r) * mm->row_bytes;
		UNROLL
		for (int t = 0; t < n_tok; t++)
			acc[t] = _mm512_setzero_ps();
		for (size_t left = groups; left; left--, g += mm->act->n_tokens) {
			if (left == 1 && tail_blocks) {
				/* missing blocks: d and the activations are 0 */
				memset(tail, 0, sizeof(tail));
				for (int i = 0; i < 4; i++) {
					memcpy(tail[i], p[i], tail_blocks * BLOCK_BYTES);
					p[i] = tail[i];
				}
			}
			UNROLL
			for (int i = 0; i < 4; i++)
				prefetch_step(p[i]);
			step(acc, p, g, n_tok);
			UNROLL
			for (int i = 0; i < 4; i++)
				p[i] += STEP_BYTES;
		}
		UNROLL
		for (int t = 0; t < n_tok; t++) {
			float *y = mm->y + (t0 + t) * mm->ldy, o[4];

			_mm_storeu_ps(o, _mm_add_ps(_mm_add_ps(_mm_add_ps(
				_mm512_castps512_ps128(acc[t]), _mm512_extractf32x4_ps(acc[t], 1)),
				_mm512_extractf32x4_ps(acc[t], 2)),
				_mm512_extractf32x4_ps(acc[t], 3)));
			for (size_t i = 0; i < 4 && r + i * quarter < n; i++) {
				size_t row = r + i * quarter;

				y[row] = mm->bias ? o[i] + mm->bias[mm->row0 + row] : o[i];
			}
		}
	}
}

static void run_few(const struct linnet_matmul *mm)
{
	switch (mm->act->n_tokens) {
	case 1:
		few(mm, 0, 1);
		break;
	case 2:
		few(mm, 0, 2);
		break;
	case 3:
		few(mm, 0, 3);
		break;
	case 4:
		few(mm, 0, 4);
		break;
	case 5:
		few(mm, 0, 5);
		break;
	case 6:
		few(mm, 0, 6);
		break;
	case 7:
		few(mm, 0, 7);
		break;
	case 8:
		few(mm, 0, 8);
		break;
	}
}

/* -- many tokens ----------------------------------------------------------------- */

#define PANEL_ROWS	32
#define PACK_AHEAD	384	/* bytes within a row */

struct panel_block {
	__m512i q[8][2];	/* of rows 0..15 and 16..31 */
	__m512 d[2];
#if HAS_MIN
	__m512 m[2];
#endif
};

_Static_assert(sizeof(struct panel_block) <= LINNET_Q32_PANEL_BLOCK, "room in the scratch");

/*
 * n_rows (at most 32) at w, all blocks, chain after chain. The rows that will be
 * packed next lie behind these in one piece and are prefetched as such: 32 streams
 * side by side would take twice the time. Only the first panel of a call has to.
 */
static __attribute__((noinline))
void pack_panel(struct panel_block *dst, const uint8_t *w, size_t row_bytes, size_t n_rows,
		size_t n_blocks, bool first, bool more)
{
	const size_t span = n_blocks ? PANEL_ROWS * row_bytes / n_blocks : 0;
	const uint8_t *next = w + PANEL_ROWS * row_bytes;
	struct panel_block *chain[LINNET_Q32_CHAINS];
	const uint8_t *p[PANEL_ROWS];

	/* rows that are missing are the last one again; nobody looks at their sums */
	for (size_t r = 0; r < PANEL_ROWS; r++)
		p[r] = w + (r < n_rows ? r : n_rows - 1) * row_bytes;
	for (size_t s = 0; s < LINNET_Q32_CHAINS; s++)
		chain[s] = dst + linnet_q32_chain(n_blocks, s);
	for (size_t b = 0; b < n_blocks; b++, next += span) {
		struct panel_block *out = chain[b % LINNET_Q32_CHAINS]++;

		if (more)
			for (size_t at = 0; at < span; at += 64)
				prefetch_t1(next + at);
		if (first && b % (64 / BLOCK_BYTES) == 0)
			for (int r = 0; r < PANEL_ROWS; r++)
				prefetch_t0(p[r] + b * BLOCK_BYTES + PACK_AHEAD);
		for (int h = 0; h < 2; h++) {
			__m512i q[8];
			__m512 d, m;

			unpack16(q, &d, &m, p + h * 16, b * BLOCK_BYTES);
			UNROLL
			for (int k = 0; k < 8; k++)
				out->q[k][h] = q[k];
			out->d[h] = d;
#if HAS_MIN
			out->m[h] = m;
#endif
		}
	}
}

/* Where a tile's sums go */
struct tile_out {
	float *y;
	size_t ldy;
	const float *bias;
	size_t n_tok;
	__mmask16 rows[2];
	bool first, last;	/* chain */
};

/* One chain of a panel times n_tok (a constant, even) tokens of a tile */
ALWAYS_INLINE void tile(const struct tile_out *o, const struct panel_block *w,
			const struct linnet_q32_tile *a, size_t len, const int n_tok)
{
	const int part = n_tok > 4 ? n_tok / 2 : n_tok;	/* whose int sums fit in registers */
	__m512 acc[LINNET_Q32_TILE][2];

	UNROLL
	for (int j = 0; j < n_tok; j++)
		acc[j][0] = acc[j][1] = _mm512_setzero_ps();
	for (; len; len--, w++, a++) {
		int32_t init[LINNET_Q32_TILE] __attribute__((aligned(32)));

#if !HAS_MIN
		_mm256_store_si256((__m256i *)init, _mm256_slli_epi32(
			_mm256_loadu_si256((const __m256i *)a->nsum), BIAS_SHIFT));
#else
		memset(init, 0, sizeof(init));
#endif
		UNROLL
		for (int j0 = 0; j0 < n_tok; j0 += part) {
			__m512i s[4][2];

			/* Read the weights again: they would be kept, and sums spilled. */
			__asm__ volatile("" : : : "memory");
			UNROLL
			for (int j = 0; j < part; j++)
				s[j][0] = s[j][1] = _mm512_set1_epi32(init[j0 + j]);
			UNROLL
			for (int k = 0; k < 8; k++) {
				UNROLL
				for (int j = 0; j < part; j++) {
					int32_t x;
					__m512i b;

					memcpy(&x, a->q[j0 + j] + k * 4, 4);
					b = _mm512_set1_epi32(x);
					s[j][0] = _mm512_dpbusd_epi32(s[j][0], w->q[k][0], b);
					s[j][1] = _mm512_dpbusd_epi32(s[j][1], w->q[k][1], b);
				}
			}
			UNROLL
			for (int j = 0; j < part; j++) {
				const __m512 da = _mm512_set1_ps(a->d[j0 + j]);

				UNROLL
				for (int h = 0; h < 2; h++) {
					__m512 *c = &acc[j0 + j][h];

					*c = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[j][h]),
							     _mm512_mul_ps(w->d[h], da), *c);
#if HAS_MIN
					*c = _mm512_fmadd_ps(w->m[h],
							     _mm512_set1_ps(a->dsum[j0 + j]), *c);
#endif
				}
			}
		}
	}
	UNROLL
	for (int h = 0; h < 2; h++) {
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			float *y = o->y + (size_t)j * o->ldy + h * 16;
			__m512 v = acc[j][h];

			if ((size_t)j >= o->n_tok)
				break;
			if (!o->first)
				v = _mm512_add_ps(_mm512_maskz_loadu_ps(o->rows[h], y), v);
			if (o->last && o->bias)
				v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(o->rows[h],
									   o->bias + h * 16));
			_mm512_mask_storeu_ps(y, o->rows[h], v);
		}
	}
}

static void run_tile(const struct tile_out *o, const struct panel_block *w,
		     const struct linnet_q32_tile *a, size_t len)
{
	switch ((o->n_tok + 1) / 2) {
	case 1:
		tile(o, w, a, len, 2);
		break;
	case 2:
		tile(o, w, a, len, 4);
		break;
	case 3:
		tile(o, w, a, len, 6);
		break;
	default:
		tile(o, w, a, len, 8);
	}
}

static __mmask16 row_mask(size_t n)
{
	return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

static void many(const struct linnet_matmul *mm)
{
	const size_t n_blocks = mm->act->n_cols / 32, n_tok = mm->act->n_tokens;
	const size_t tiles = linnet_q32_tiles(n_tok);
	const size_t at_once = linnet_q32_panels(mm->act->n_cols, n_tok);
	struct panel_block *panels = mm->scratch;

	for (size_t row = mm->row0; row < mm->row1; row += at_once * PANEL_ROWS) {
		size_t n = (mm->row1 - row + PANEL_ROWS - 1) / PANEL_ROWS;

		n = n < at_once ? n : at_once;
		for (size_t i = 0; i < n; i++) {
			size_t r = row + i * PANEL_ROWS, left = mm->row1 - r;

			pack_panel(panels + i * n_blocks,
				   (const uint8_t *)mm->w + r * mm->row_bytes, mm->row_bytes,
				   left < PANEL_ROWS ? left : PANEL_ROWS, n_blocks,
				   r == mm->row0, left > PANEL_ROWS);
		}
		for (size_t s = 0; s < LINNET_Q32_CHAINS; s++) {
			size_t b0 = linnet_q32_chain(n_blocks, s);
			size_t len = linnet_q32_chain(n_blocks, s + 1) - b0;
			const struct linnet_q32_tile *a =
				(const struct linnet_q32_tile *)mm->act->buf + b0 * tiles;

			for (size_t t = 0; t < tiles; t++, a += len)
				for (size_t i = 0; i < n; i++) {
					size_t r = row + i * PANEL_ROWS, left = mm->row1 - r;
					size_t t0 = t * LINNET_Q32_TILE;
					struct tile_out o = {
						.y = mm->y + t0 * mm->ldy + (r - mm->row0),
						.ldy = mm->ldy,
						.bias = mm->bias ? mm->bias + r : NULL,
						.n_tok = n_tok - t0,
						.rows = { row_mask(left),
							  row_mask(left > 16 ? left - 16 : 0) },
						.first = s == 0,
						.last = s == LINNET_Q32_CHAINS - 1,
					};

					run_tile(&o, panels + i * n_blocks + b0, a, len);
				}
		}
	}
}

static void matmul_q32(const struct linnet_matmul *mm)
{
	if (mm->act->n_tokens <= LINNET_Q32_FEW)
		run_few(mm);
	else
		many(mm);
}

#endif
