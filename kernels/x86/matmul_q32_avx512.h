/* SPDX-License-Identifier: MIT */
/*
 * Products of one Q32 type, written once for all. The file of a type defines
 *
 *	BLOCK_BYTES
 *	BIAS_SHIFT	the weights' bias is 1 << BIAS_SHIFT; or
 *	HAS_MIN		the type has a minimum, and no bias
 *	HAS_FINE_STEP	its activations are LINNET_ACT_Q32, not LINNET_ACT_Q32_POW2; no minimum
 *	load4(p, &lo, &hi)		see one_q32_avx512.h
 *	load4x4(q, p)			4 blocks at p[0] to p[3], second form of q32_avx512.h
 *	scales16(p)			scales of 4 blocks of 4 rows at p[0] to p[3]
 *	scale_floats(sc, &d, &m)	dword r of lane i: scale (minimum) of row r, block i
 *	unpack16(q, &d, &m, p, at)	16 rows of a block, first form
 *
 * includes this file and calls matmul_q32(). load4(), load4x4() and scales16() may read
 * all of the four blocks and nothing else.
 *
 * One token: one_q32_avx512.h.
 *
 * Few tokens: a step takes 8 rows times 4 blocks, transposed so that a dword has a row of
 * its own and sums need no horizontal step. Lane i is block i, and the chain of the
 * summation order at the same time; one conversion, one product of scales and one fma serve
 * 16 blocks. The weights stay in registers while all tokens meet them. The rows after these
 * are prefetched into the second cache from front to back, as two streams through the
 * range; from there into the first the processor finds its way.
 *
 * Many tokens: 32 rows are unpacked into a panel, chain after chain, and go through a
 * register tile of 32 rows times 8 tokens. The accumulators of a tile stay in
 * registers for a whole chain and are then added to those of the chains before, which
 * gives the same order. Some panels take turns, so that a chain of the tokens is read from
 * the first cache; what they have summed up waits there too, and y is written once: its
 * rows are far apart, and it is larger than any cache. The activations of all tokens are
 * too large for the second cache, and come in pieces that no prefetcher of the processor
 * follows: while panels meet one chain of a tile, the next is prefetched.
 */
#ifndef LINNET_KERNELS_X86_MATMUL_Q32_AVX512_H
#define LINNET_KERNELS_X86_MATMUL_Q32_AVX512_H

#include "kernels/x86/q32_avx512.h"

#ifndef HAS_MIN
#define HAS_MIN		0
#endif
#ifndef HAS_FINE_STEP
#define HAS_FINE_STEP	0
#endif

#include "kernels/x86/one_q32_avx512.h"

/* -- few tokens ------------------------------------------------------------------ */

#define STEP_BYTES	(4 * BLOCK_BYTES)
#define STEP_ROWS	8
#define STREAMS		2
#define STREAM_ROWS	(STEP_ROWS / STREAMS)
#define STREAM_SKEW	3	/* rows; keeps the streams off the same cache sets */

/* 4 blocks of 8 rows, second form */
struct square {
	__m512i q[2][8];
	__m512 d[2];
#if HAS_MIN
	__m512 m[2];
#endif
};

ALWAYS_INLINE void load_square(struct square *w, const uint8_t *const p[STEP_ROWS])
{
	UNROLL
	for (int h = 0; h < 2; h++) {
		__m512 m;

		load4x4(w->q[h], p + 4 * h);
		scale_floats(scales16(p + 4 * h), &w->d[h], &m);
#if HAS_MIN
		w->m[h] = m;
#endif
	}
}

/* acc[h] += a square times the group of a token */
ALWAYS_INLINE void step(__m512 acc[2], const struct square *w, const struct linnet_q32_group *g)
{
	const __m512i rep = _mm512_set_epi32(FOUR(3), FOUR(2), FOUR(1), FOUR(0));
	const __m512i half[2] = { _mm512_load_si512(g->q), _mm512_load_si512(g->q + 64) };
	const __m512i meta = _mm512_load_si512(g->nsum);
	const __m512 da = _mm512_castsi512_ps(_mm512_permutexvar_epi32(
		_mm512_add_epi32(rep, _mm512_set1_epi32(4)), meta));
	__m512i s0 = _mm512_setzero_si512(), s1;

#if !HAS_MIN
	s0 = _mm512_slli_epi32(_mm512_permutexvar_epi32(rep, meta), BIAS_SHIFT);
#endif
	s1 = s0;
#define DOT(k)									\
	do {									\
		const __m512i b = _mm512_shuffle_epi32(half[(k) / 4], (k) % 4 * 0x55);	\
										\
		s0 = _mm512_dpbusd_epi32(s0, w->q[0][k], b);			\
		s1 = _mm512_dpbusd_epi32(s1, w->q[1][k], b);			\
	} while (0)
	DOT(0);
	DOT(1);
	DOT(2);
	DOT(3);
	DOT(4);
	DOT(5);
	DOT(6);
	DOT(7);
#undef DOT
	acc[0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s0), _mm512_mul_ps(w->d[0], da), acc[0]);
	acc[1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s1), _mm512_mul_ps(w->d[1], da), acc[1]);
#if HAS_MIN
	const __m512 dsum = _mm512_castsi512_ps(_mm512_permutexvar_epi32(
		_mm512_add_epi32(rep, _mm512_set1_epi32(8)), meta));

	acc[0] = _mm512_fmadd_ps(w->m[0], dsum, acc[0]);
	acc[1] = _mm512_fmadd_ps(w->m[1], dsum, acc[1]);
#endif
}

static void few(const struct linnet_matmul *mm)
{
	const size_t n = mm->row1 - mm->row0, n_tok = mm->act->n_tokens;
	const size_t steps = mm->act->n_cols / 128, tail_blocks = mm->act->n_cols / 32 % 4;
	/* Where a stream is long its end overlaps the next one: these rows are made twice. */
	const size_t stream = (n + STEP_ROWS - 1) / STEP_ROWS * STREAM_ROWS +
			      (n >= 64 ? STREAM_SKEW : 0);
	const size_t part = steps ? STREAM_ROWS * mm->row_bytes / steps : 0;
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;
	__m512 acc[LINNET_Q32_FEW][2];

	for (size_t r = 0; r < stream && r < n; r += STREAM_ROWS) {
		const struct linnet_q32_group *g = mm->act->buf;
		const uint8_t *row[STEP_ROWS], *ahead[STREAMS];
		struct square sq;
		size_t at = 0, to = 0;

		/* The asm keeps gcc from gathering pointers in vectors. */
		for (size_t i = 0; i < STEP_ROWS; i++) {
			size_t x = r + i / STREAM_ROWS * stream + i % STREAM_ROWS;

			row[i] = w + (x < n ? x : r) * mm->row_bytes;
			__asm__("" : "+r"(row[i]));
		}
		for (size_t i = 0; i < STREAMS; i++) {
			size_t x = r + i * stream + STREAM_ROWS;

			ahead[i] = x + STREAM_ROWS <= n ? w + x * mm->row_bytes : row[0];
			__asm__("" : "+r"(ahead[i]));
		}
		for (size_t t = 0; t < n_tok; t++)
			acc[t][0] = acc[t][1] = _mm512_setzero_ps();
		for (size_t i = 0; i < steps; i++, at += STEP_BYTES, to += part) {
			const uint8_t *const p[STEP_ROWS] = {
				row[0] + at, row[1] + at, row[2] + at, row[3] + at,
				row[4] + at, row[5] + at, row[6] + at, row[7] + at,
			};

			UNROLL
			for (int k = 0; k < STREAMS; k++)
				for (size_t l = 0; l < part; l += 64)
					prefetch_t1(ahead[k] + to + l);
			load_square(&sq, p);
			for (size_t t = 0; t < n_tok; t++, g++)
				step(acc[t], &sq, g);
		}
		if (tail_blocks) {
			uint8_t tail[STEP_ROWS][STEP_BYTES];
			const uint8_t *p[STEP_ROWS];

			/* missing blocks: d and the activations are 0 */
			memset(tail, 0, sizeof(tail));
			for (int i = 0; i < STEP_ROWS; i++) {
				memcpy(tail[i], row[i] + at, tail_blocks * BLOCK_BYTES);
				p[i] = tail[i];
			}
			load_square(&sq, p);
			for (size_t t = 0; t < n_tok; t++, g++)
				step(acc[t], &sq, g);
		}
		for (size_t t = 0; t < n_tok; t++) {
			float *y = mm->y + t * mm->ldy, o[STEP_ROWS];

			_mm_storeu_ps(o, sum_chains(acc[t][0]));
			_mm_storeu_ps(o + 4, sum_chains(acc[t][1]));
			for (size_t i = 0; i < STEP_ROWS; i++) {
				size_t x = r + i / STREAM_ROWS * stream + i % STREAM_ROWS;

				if (x < n)
					y[x] = mm->bias ? o[i] + mm->bias[mm->row0 + x] : o[i];
			}
		}
	}
}

/* -- many tokens ----------------------------------------------------------------- */

#define PANEL_ROWS	32
#define PACK_AHEAD	384	/* bytes within a row */

/*
 * The product of two scales is made without the units that multiply, which integer products
 * need: each of the steps that activations have, 1 (1.25, 1.5, 1.75) times a power of two, finds
 * a block's d multiplied by the first, and an instruction of its own adds to the exponent.
 */
#define STEPS		(HAS_FINE_STEP ? 4 : 1)

struct panel_block {
	__m512i q[8][2];	/* of rows 0..15 and 16..31 */
	__m512 d[STEPS][2];
#if HAS_MIN
	__m512 m[2];
#endif
};

_Static_assert(sizeof(struct panel_block) <= LINNET_Q32_PANEL_BLOCK, "room in the scratch");

/*
 * n_rows (at most 32) at w, all blocks, chain after chain. Rows come from the second cache
 * to the first a little ahead; into the second they came while the panels before were
 * multiplied. Only those of a call's first panels are fetched here, each panel's while the
 * one before is packed, in one piece: 32 streams side by side would take twice the time.
 */
static __attribute__((noinline))
void pack_panel(struct panel_block *dst, const uint8_t *w, size_t row_bytes, size_t n_rows,
		size_t n_blocks, bool more)
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
		if (b % (64 / BLOCK_BYTES) == 0)
			for (int r = 0; r < PANEL_ROWS; r++)
				prefetch_t0(p[r] + b * BLOCK_BYTES + PACK_AHEAD);
		for (int h = 0; h < 2; h++) {
			__m512i q[8];
			__m512 d, m;

			unpack16(q, &d, &m, p + h * 16, b * BLOCK_BYTES);
			UNROLL
			for (int k = 0; k < 8; k++)
				out->q[k][h] = q[k];
			for (int k = 0; k < STEPS; k++)
				out->d[k][h] = _mm512_mul_ps(d, _mm512_set1_ps(1 + 0.25f * (float)k));
#if HAS_MIN
			out->m[h] = m;
#endif
		}
	}
}

/* Sums of the chains so far of a tile */
struct tile_sums {
	__m512 y[LINNET_Q32_TILE][2];
};

/* Where a tile's sums go */
struct tile_out {
	struct tile_sums *sums;
	float *y;
	size_t ldy;
	const float *bias;
	size_t n_tok;
	__mmask16 rows[2];
	bool first, last;	/* chain */
	const struct linnet_q32_tile *ahead;	/* fetched meanwhile, by */
	size_t ahead_step;			/* 1 for each block, or 0: nothing new */
	const uint8_t *weights;			/* fetched meanwhile, by */
	size_t weights_step;			/* WEIGHTS_AHEAD, or 0: nothing new */
};

/* The scales da of a tile's tokens */
struct token_scales {
	float exponent[LINNET_Q32_TILE] __attribute__((aligned(32)));
	uint32_t step[LINNET_Q32_TILE] __attribute__((aligned(32)));	/* of STEPS, in bytes */
};

ALWAYS_INLINE void load_scales(struct token_scales *ts, const float *da)
{
	const __m256 v = _mm256_loadu_ps(da);

	/* of 0, whose sums are 0, any exponent: a NaN of the weights has to stay one */
	_mm256_store_ps(ts->exponent, _mm256_max_ps(_mm256_set1_ps(-200), _mm256_getexp_ps(v)));
	/* the upper two bits of the mantissa, times sizeof(d[0]) */
	_mm256_store_si256((__m256i *)ts->step, _mm256_and_si256(
		_mm256_srli_epi32(_mm256_castps_si256(v), 21 - 7),
		_mm256_set1_epi32((STEPS - 1) << 7)));
}

/* d[h] * da of token j */
ALWAYS_INLINE __m512 scaled(const struct panel_block *w, const struct token_scales *ts, int j,
			    int h)
{
	const __m512 *d = (const void *)((const char *)w->d + (STEPS > 1 ? ts->step[j] : 0));

	return _mm512_scalef_ps(d[h], _mm512_set1_ps(ts->exponent[j]));
}

#define AHEAD_LINES	((int)(sizeof(struct linnet_q32_tile) + 63) / 64)
#define WEIGHTS_AHEAD	128

/* One chain of a panel times n_tok (a constant, even) tokens of a tile */
ALWAYS_INLINE void tile(const struct tile_out *o, const struct panel_block *w,
			const struct linnet_q32_tile *a, size_t len, const int n_tok)
{
	const int part = n_tok > 4 ? n_tok / 2 : n_tok;	/* whose int sums fit in registers */
	const struct linnet_q32_tile *ahead = o->ahead;
	const uint8_t *weights = o->weights;
	__m512 acc[LINNET_Q32_TILE][2];

	UNROLL
	for (int j = 0; j < n_tok; j++)
		acc[j][0] = acc[j][1] = _mm512_setzero_ps();
	for (; len; len--, w++, a++, ahead += o->ahead_step, weights += o->weights_step) {
		int32_t init[LINNET_Q32_TILE] __attribute__((aligned(32)));
		struct token_scales ts;

#if !HAS_MIN
		_mm256_store_si256((__m256i *)init, _mm256_slli_epi32(
			_mm256_loadu_si256((const __m256i *)a->nsum), BIAS_SHIFT));
#else
		memset(init, 0, sizeof(init));
#endif
		load_scales(&ts, a->d);
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
				__m512i q0 = w->q[k][0], q1 = w->q[k][1];

				/* gcc may read them again for each token otherwise */
				__asm__("" : "+v"(q0), "+v"(q1));
				/* in a burst they would cost the tile 2 % */
				if (k < AHEAD_LINES && k % 2)
					prefetch_t1((const uint8_t *)ahead + (j0 / part *
						    AHEAD_LINES + k) / 2 * 64);
				if (k == 6)
					prefetch_t1(weights + j0 / part * 64);
				UNROLL
				for (int j = 0; j < part; j++) {
					int32_t x;
					__m512i b;

					memcpy(&x, a->q[j0 + j] + k * 4, 4);
					b = _mm512_set1_epi32(x);
					s[j][0] = _mm512_dpbusd_epi32(s[j][0], q0, b);
					s[j][1] = _mm512_dpbusd_epi32(s[j][1], q1, b);
				}
			}
			UNROLL
			for (int j = 0; j < part; j++) {
				UNROLL
				for (int h = 0; h < 2; h++) {
					__m512 *c = &acc[j0 + j][h];

					*c = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[j][h]),
							     scaled(w, &ts, j0 + j, h), *c);
#if HAS_MIN
					*c = _mm512_fmadd_ps(w->m[h],
							     _mm512_set1_ps(a->dsum[j0 + j]), *c);
#endif
				}
			}
		}
	}
	UNROLL
	for (int j = 0; j < n_tok; j++) {
		UNROLL
		for (int h = 0; h < 2; h++) {
			__m512 v = acc[j][h];

			if (!o->first)
				v = _mm512_add_ps(o->sums->y[j][h], v);
			if (!o->last) {
				o->sums->y[j][h] = v;
				continue;
			}
			if ((size_t)j >= o->n_tok)
				break;
			if (o->bias)
				v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(o->rows[h],
									   o->bias + h * 16));
			_mm512_mask_storeu_ps(o->y + (size_t)j * o->ldy + h * 16, o->rows[h], v);
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

/* Panels that take turns, and the rows of those after them */
struct turn {
	size_t row, n;
	size_t calls;		/* of tile() that are left */
	const uint8_t *next;
	size_t next_bytes;
};

/*
 * Chain s of the panels, tile t of the tokens: blocks [b0, b0 + len). The activations that
 * come next, which no cache of this core has, are prefetched, and in the last calls the
 * next panels' rows, which packing would have to wait for.
 */
static void panels_tile(const struct linnet_matmul *mm, const struct panel_block *panels,
			struct tile_sums *sums, struct turn *turn, size_t t, size_t s,
			size_t b0, size_t len)
{
	const size_t n_blocks = mm->act->n_cols / 32, t0 = t * LINNET_Q32_TILE;
	const size_t tiles = linnet_q32_tiles(mm->act->n_tokens);
	const struct linnet_q32_tile *first = mm->act->buf;
	const struct linnet_q32_tile *a = first + b0 * tiles + t * len;
	/* a block may be missing at the end of that chain: no harm is done */
	const struct linnet_q32_tile *next = s + 1 < LINNET_Q32_CHAINS ?
		first + (b0 + len) * tiles + t * len : first + (t + 1) % tiles * len;

	for (size_t i = 0; i < turn->n; i++) {
		const size_t r = turn->row + i * PANEL_ROWS, left = mm->row1 - r;
		/* what the calls that are left can fetch, this one the first part */
		const size_t share = len * WEIGHTS_AHEAD, all = turn->calls-- * share;
		const bool fetch = turn->next_bytes && all < turn->next_bytes + share;
		const struct tile_out o = {
			.sums = &sums[i],
			.y = mm->y + t0 * mm->ldy + (r - mm->row0),
			.ldy = mm->ldy,
			.bias = mm->bias ? mm->bias + r : NULL,
			.n_tok = mm->act->n_tokens - t0,
			.rows = { row_mask(left), row_mask(left > 16 ? left - 16 : 0) },
			.first = s == 0,
			.last = s == LINNET_Q32_CHAINS - 1,
			.ahead = i ? a : next,
			.ahead_step = i == 0,
			.weights = fetch ? turn->next + turn->next_bytes -
				(all < turn->next_bytes ? all : turn->next_bytes) : turn->next,
			.weights_step = fetch ? WEIGHTS_AHEAD : 0,
		};

		run_tile(&o, panels + i * n_blocks + b0, a, len);
	}
}

static void many(const struct linnet_matmul *mm)
{
	const size_t n_blocks = mm->act->n_cols / 32, n_tok = mm->act->n_tokens;
	const size_t tiles = linnet_q32_tiles(n_tok);
	const size_t at_once = linnet_q32_panels(mm->act->n_cols, n_tok);
	struct panel_block *panels = mm->scratch;
	struct tile_sums sums[LINNET_Q32_PANELS];

	for (size_t row = mm->row0; row < mm->row1; row += at_once * PANEL_ROWS) {
		const size_t rows = mm->row1 - row, most = at_once * PANEL_ROWS;
		const size_t n = rows < most ? (rows + PANEL_ROWS - 1) / PANEL_ROWS : at_once;
		const size_t next = rows < 2 * most ? rows - (rows < most ? rows : most) : most;
		struct turn turn = {
			.row = row,
			.n = n,
			.calls = tiles * LINNET_Q32_CHAINS * n,
			.next = (const uint8_t *)mm->w + (row + most) * mm->row_bytes,
			.next_bytes = next * mm->row_bytes,
		};

		for (size_t i = 0; i < n; i++) {
			size_t r = row + i * PANEL_ROWS, left = mm->row1 - r;

			pack_panel(panels + i * n_blocks,
				   (const uint8_t *)mm->w + r * mm->row_bytes, mm->row_bytes,
				   left < PANEL_ROWS ? left : PANEL_ROWS, n_blocks,
				   row == mm->row0 && i + 1 < n);
		}
		for (size_t t = 0; t < tiles; t++)
			for (size_t s = 0; s < LINNET_Q32_CHAINS; s++) {
				const size_t b0 = linnet_q32_chain(n_blocks, s);
				const size_t len = linnet_q32_chain(n_blocks, s + 1) - b0;

				panels_tile(mm, panels, sums, &turn, t, s, b0, len);
			}
	}
}

static void matmul_q32(const struct linnet_matmul *mm)
{
	if (mm->act->n_tokens == 1)
		one(mm);
	else if (mm->act->n_tokens <= LINNET_Q32_FEW)
		few(mm);
	else
		many(mm);
}

#endif
