/* SPDX-License-Identifier: MIT */
/*
 * Products of one Q32 type, AVX2, written once for all. The file of a type defines
 *
 *	BLOCK_BYTES
 *	BIAS_SHIFT	the weights are unsigned with a bias of 1 << BIAS_SHIFT; or
 *	HAS_MIN		they are unsigned without a bias, and the type has a minimum; or
 *	SIGNED		they are signed
 *	SUMS16		how many sums of two products fit 16 bits together (1 for SIGNED)
 *	load2(p, &lo, &hi)		2 blocks, first form of q32_avx2.h
 *	scales4(p, &d, &m)		scales (minima) of 4 blocks at p
 *	unpack8(q, &d, &m, p, at)	8 rows of a block
 *
 * includes this file and calls matmul_q32(). See matmul_q32_avx512.h for the plan:
 * few tokens go over rows as they lie, here 4 blocks of a row a step; many go over
 * panels of 16 rows in tiles of 4 tokens. With VNNI signed weights become unsigned with a
 * bias, too, and SUMS16 means nothing.
 */
#ifndef LINNET_KERNELS_X86_MATMUL_Q32_AVX2_H
#define LINNET_KERNELS_X86_MATMUL_Q32_AVX2_H

#include "kernels/x86/q32_avx2.h"

#ifndef HAS_MIN
#define HAS_MIN		0
#endif
#ifndef SIGNED
#define SIGNED		0
#endif

#if LINNET_VNNI
#if SIGNED
#define BIAS_SHIFT	7
#endif

ALWAYS_INLINE __m256i unsigned_weights(__m256i w)
{
	return SIGNED ? _mm256_xor_si256(w, _mm256_set1_epi8(-128)) : w;
}
#else
ALWAYS_INLINE __m256i unsigned_weights(__m256i w)
{
	return w;
}

/* Sums of two products in 16 bits: at most 128 * 127 * 2, which fits. */
ALWAYS_INLINE __m256i pairs(__m256i w, __m256i x)
{
	if (SIGNED)
		return _mm256_maddubs_epi16(_mm256_sign_epi8(w, w), _mm256_sign_epi8(x, w));
	return _mm256_maddubs_epi16(w, x);
}

ALWAYS_INLINE __m256i widen_pairs(__m256i p)
{
	return _mm256_madd_epi16(p, _mm256_set1_epi16(1));
}
#endif

/* The order of sums keeps few of them alive; gcc would change it. */
#define KEEP(v)	__asm__("" : "+x"(v))

ALWAYS_INLINE int32_t dword(const int8_t *q)
{
	int32_t x;

	memcpy(&x, q, 4);
	return x;
}

/* -- few tokens ------------------------------------------------------------------ */

#define STEP_BYTES	(4 * BLOCK_BYTES)
#define STEP_AHEAD	2560
#define ROWS_SKEW	3

/* Unpacked, 4 blocks of a row */
struct step {
	__m256i w[4];
	__m128 d, m;
};

ALWAYS_INLINE struct step load4(const uint8_t *p)
{
	struct step s;

	load2(p, &s.w[0], &s.w[1]);
	load2(p + 2 * BLOCK_BYTES, &s.w[2], &s.w[3]);
	scales4(p, &s.d, &s.m);
	UNROLL
	for (int i = 0; i < 4; i++)
		s.w[i] = unsigned_weights(s.w[i]);
	return s;
}

/* Dot products of a row's 4 blocks, halves of them: of 0 2 0 2 in the lower lane, 1 3 1 3 above */
ALWAYS_INLINE __m256i half_dots(const __m256i w[4], const struct linnet_q32_group *g)
{
	__m256i s[4];

#if LINNET_VNNI
	UNROLL
	for (int i = 0; i < 4; i++)
		s[i] = VNNI_DPBUSD(i % 2 ? s[i - 1] : _mm256_setzero_si256(), w[i],
				   _mm256_load_si256((const __m256i *)(g->q + i * 32)));
	s[0] = s[1];
	s[2] = s[3];
#else
	UNROLL
	for (int i = 0; i < 4; i++)
		s[i] = pairs(w[i], _mm256_load_si256((const __m256i *)(g->q + i * 32)));
	if (SUMS16 >= 4) {
		s[0] = _mm256_add_epi16(s[0], s[1]);
		s[2] = _mm256_add_epi16(s[2], s[3]);
		return widen_pairs(_mm256_add_epi16(_mm256_unpacklo_epi32(s[0], s[2]),
						    _mm256_unpackhi_epi32(s[0], s[2])));
	}
	s[0] = _mm256_add_epi32(widen_pairs(s[0]), widen_pairs(s[1]));
	s[2] = _mm256_add_epi32(widen_pairs(s[2]), widen_pairs(s[3]));
#endif
	return _mm256_add_epi32(_mm256_unpacklo_epi32(s[0], s[2]),
				_mm256_unpackhi_epi32(s[0], s[2]));
}

/*
 * What belongs to 4 blocks of two rows, in the order of their sums: blocks 0 2 of the first and
 * of the second, then 1 3
 */
ALWAYS_INLINE __m256 of_two(__m128 a, __m128 b)
{
	return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_shuffle_ps(a, b, 0x88)),
				    _mm_shuffle_ps(a, b, 0xdd), 1);
}

ALWAYS_INLINE __m256 of_token(const void *four)
{
	return _mm256_permutevar_ps(_mm256_broadcast_ps(four),
				    _mm256_setr_epi32(0, 2, 0, 2, 1, 3, 1, 3));
}

/* acc[t] += 4 blocks of two rows times the group of token t */
ALWAYS_INLINE void step(__m256 *acc, const uint8_t *p0, const uint8_t *p1,
			const struct linnet_q32_group *g, const int n_tok)
{
	const struct step a = load4(p0), b = load4(p1);
	const __m256 d = of_two(a.d, b.d);
#if HAS_MIN
	const __m256 m = of_two(a.m, b.m);
#endif

	UNROLL
	for (int t = 0; t < n_tok; t++, g++) {
		const __m256i x = half_dots(a.w, g), y = half_dots(b.w, g);
		__m256i sum = _mm256_add_epi32(_mm256_unpacklo_epi64(x, y),
					       _mm256_unpackhi_epi64(x, y));

#ifdef BIAS_SHIFT
		sum = _mm256_add_epi32(sum, _mm256_slli_epi32(
			_mm256_castps_si256(of_token(g->nsum)), BIAS_SHIFT));
#endif
		acc[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
					 _mm256_mul_ps(d, of_token(g->d)), acc[t]);
#if HAS_MIN
		acc[t] = _mm256_fmadd_ps(m, of_token(g->dsum), acc[t]);
#endif
	}
}

/* n_rows at once, an even number, and n_tok are constants. The rows are far apart: long streams. */
ALWAYS_INLINE void few(const struct linnet_matmul *mm, const int n_rows, const int n_tok)
{
	const size_t n_blocks = mm->act->n_cols / 32, tail_blocks = n_blocks % 4;
	const size_t groups = linnet_q32_groups(mm->act->n_cols), n = mm->row1 - mm->row0;
	const size_t apart = (n + n_rows - 1) / n_rows + (n_rows > 1 && n >= 64 ? ROWS_SKEW : 0);
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;

	for (size_t r = 0; r < apart && r < n; r++) {
		const struct linnet_q32_group *g = mm->act->buf;
		uint8_t tail[4][STEP_BYTES];
		const uint8_t *p[4];
		__m256 acc[2][LINNET_Q32_FEW];

		UNROLL
		for (int i = 0; i < n_rows; i++) {
			p[i] = w + (r + i * apart < n ? r + i * apart : r) * mm->row_bytes;
			UNROLL
			for (int t = 0; t < n_tok; t++)
				acc[i / 2][t] = _mm256_setzero_ps();
		}
		for (size_t left = groups; left; left--, g += n_tok) {
			if (left == 1 && tail_blocks) {
				/* missing blocks: d and the activations are 0 */
				memset(tail, 0, sizeof(tail));
				for (int i = 0; i < n_rows; i++) {
					memcpy(tail[i], p[i], tail_blocks * BLOCK_BYTES);
					p[i] = tail[i];
				}
			}
			UNROLL
			for (int i = 0; i < n_rows; i++) {
				prefetch_t0(p[i] + STEP_AHEAD);
				UNROLL
				for (int at = STEP_BYTES - 64; at > 0; at -= 64)
					prefetch_t0(p[i] + STEP_AHEAD + at);
				if (i % 2 == 0)
					continue;
				step(acc[i / 2], p[i - 1], p[i], g, n_tok);
				p[i - 1] += STEP_BYTES;
				p[i] += STEP_BYTES;
			}
		}
		UNROLL
		for (int i = 0; i < n_rows; i++) {
			const size_t row = r + i * apart;

			if (row >= n)
				break;
			UNROLL
			for (int t = 0; t < n_tok; t++) {
				const int at = i % 2 * 2;
				float c[8], y;

				_mm256_storeu_ps(c, acc[i / 2][t]);
				y = ((c[at] + c[at + 4]) + c[at + 1]) + c[at + 5];
				mm->y[t * mm->ldy + row] =
					mm->bias ? y + mm->bias[mm->row0 + row] : y;
			}
		}
	}
}

static void run_few(const struct linnet_matmul *mm)
{
	switch (mm->act->n_tokens) {
	case 1:
		few(mm, 4, 1);
		break;
	case 2:
		few(mm, 2, 2);
		break;
	case 3:
		few(mm, 2, 3);
		break;
	case 4:
		few(mm, 2, 4);
		break;
	}
}

/* -- many tokens ----------------------------------------------------------------- */

#define PANEL_ROWS	16
#define TILE_TOKENS	4
/*
 * Bytes with a sign become unsigned ones, whose products are too large for vpmaddubsw: it
 * multiplies their halves of four bits apart.
 */
#define SPLIT		(SIGNED && !LINNET_VNNI)
#define DIGITS		(1 + SPLIT)
#if SPLIT
#define PANEL_SHIFT	7
#define PANEL_SUMS16	8
#else
#define PANEL_SUMS16	SUMS16
#ifdef BIAS_SHIFT
#define PANEL_SHIFT	BIAS_SHIFT
#endif
#endif

struct panel_block {
	__m256i q[DIGITS][8][2];	/* of rows 0..7 and 8..15; the low digit first */
	__m256 d[2];
#if HAS_MIN
	__m256 m[2];
#endif
};

_Static_assert(sizeof(struct panel_block) <= LINNET_Q32_PANEL_BLOCK, "room in the scratch");

ALWAYS_INLINE void put_weights(struct panel_block *out, int h, const __m256i q[8])
{
	UNROLL
	for (int k = 0; k < 8; k++) {
#if SPLIT
		const __m256i u = _mm256_xor_si256(q[k], _mm256_set1_epi8(-128));

		out->q[0][k][h] = low_nibbles(u);
		out->q[1][k][h] = low_nibbles(_mm256_srli_epi16(u, 4));
#else
		out->q[0][k][h] = unsigned_weights(q[k]);
#endif
	}
}

/*
 * n_rows (at most 16) at w, all blocks, chain after chain. The rows that will be
 * packed next, if there are more, are prefetched in one piece.
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
		for (int h = 0; h < 2; h++) {
			__m256i q[8];
			__m256 d, m;

			unpack8(q, &d, &m, p + h * 8, b * BLOCK_BYTES);
			put_weights(out, h, q);
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
	__m256i rows[2];
	bool first, last;	/* chain */
};

/* The dot products of a block with n_tok tokens from j0 on */
#if LINNET_VNNI
ALWAYS_INLINE void dots(__m256i s[TILE_TOKENS][2], const struct panel_block *w,
			const struct linnet_q32_tile *a, size_t j0, const int n_tok)
{
	/* two tokens at a time, whose sums and the tile's fit the registers */
	UNROLL
	for (int j = 0; j < n_tok; j += 2) {
		UNROLL
		for (int k = 0; k < 8; k++) {
			UNROLL
			for (int i = j; i < j + 2; i++) {
				const __m256i x = _mm256_set1_epi32(dword(a->q[j0 + i] + k * 4));

				if (i == n_tok)
					break;
				UNROLL
				for (int h = 0; h < 2; h++) {
					s[i][h] = VNNI_DPBUSD(k ? s[i][h] : _mm256_setzero_si256(),
							      w->q[0][k][h], x);
					KEEP(s[i][h]);
				}
			}
		}
	}
}
#else
/* s += digit g of the weights, times 16 to the power of g */
ALWAYS_INLINE void add_digit(__m256i s[TILE_TOKENS][2], const struct panel_block *w, const int g,
			     const struct linnet_q32_tile *a, size_t j0, const int n_tok)
{
	__m256i part[TILE_TOKENS][2];

	/* gcc would keep the activations for the next digit, and spill */
	__asm__ volatile("" : "+r"(a));
	UNROLL
	for (int k = 0; k < 8; k++) {
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			const __m256i x = _mm256_set1_epi32(dword(a->q[j0 + j] + k * 4));

			UNROLL
			for (int h = 0; h < 2; h++) {
				__m256i v = _mm256_maddubs_epi16(w->q[g][k][h], x);

				if (k % PANEL_SUMS16)
					v = _mm256_add_epi16(part[j][h], v);
				KEEP(v);
				part[j][h] = v;
				if ((k + 1) % PANEL_SUMS16)
					continue;
				v = _mm256_madd_epi16(v, _mm256_set1_epi16(1 << 4 * g));
				if (g || k + 1 > PANEL_SUMS16)
					v = _mm256_add_epi32(s[j][h], v);
				KEEP(v);
				s[j][h] = v;
			}
		}
	}
}

ALWAYS_INLINE void dots(__m256i s[TILE_TOKENS][2], const struct panel_block *w,
			const struct linnet_q32_tile *a, size_t j0, const int n_tok)
{
	UNROLL
	for (int g = 0; g < DIGITS; g++)
		add_digit(s, w, g, a, j0, n_tok);
}
#endif

/* One chain of a panel times n_tok (a constant) tokens of a tile from j0 on */
ALWAYS_INLINE void tile(const struct tile_out *o, const struct panel_block *w,
			const struct linnet_q32_tile *a, size_t j0, size_t len, const int n_tok)
{
	__m256 acc[TILE_TOKENS][2];

	UNROLL
	for (int j = 0; j < n_tok; j++)
		acc[j][0] = acc[j][1] = _mm256_setzero_ps();
	for (; len; len--, w++, a++) {
		__m256i s[TILE_TOKENS][2];

		dots(s, w, a, j0, n_tok);
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			const __m256 da = _mm256_set1_ps(a->d[j0 + j]);

			UNROLL
			for (int h = 0; h < 2; h++) {
				__m256i v = s[j][h];

#ifdef PANEL_SHIFT
				v = _mm256_add_epi32(v, _mm256_slli_epi32(
					_mm256_set1_epi32(a->nsum[j0 + j]), PANEL_SHIFT));
#endif
				acc[j][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(v),
							    _mm256_mul_ps(w->d[h], da), acc[j][h]);
#if HAS_MIN
				acc[j][h] = _mm256_fmadd_ps(w->m[h],
							    _mm256_set1_ps(a->dsum[j0 + j]),
							    acc[j][h]);
#endif
			}
		}
	}
	UNROLL
	for (int j = 0; j < n_tok; j++) {
		if ((size_t)j >= o->n_tok)
			break;
		UNROLL
		for (int h = 0; h < 2; h++) {
			float *y = o->y + (size_t)j * o->ldy + h * 8;
			__m256 v = acc[j][h];

			if (!o->first)
				v = _mm256_add_ps(_mm256_maskload_ps(y, o->rows[h]), v);
			if (o->last && o->bias)
				v = _mm256_add_ps(v, _mm256_maskload_ps(o->bias + h * 8,
									o->rows[h]));
			_mm256_maskstore_ps(y, o->rows[h], v);
		}
	}
}

static void run_tile(const struct tile_out *o, const struct panel_block *w,
		     const struct linnet_q32_tile *a, size_t j0, size_t len)
{
	if (o->n_tok == 1)
		tile(o, w, a, j0, len, 1);
	else if (o->n_tok == 2)
		tile(o, w, a, j0, len, 2);
	else if (o->n_tok == 3)
		tile(o, w, a, j0, len, 3);
	else
		tile(o, w, a, j0, len, 4);
}

/* All ones in the first n dwords */
static __m256i row_mask(size_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8),
				  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
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
				   left > PANEL_ROWS);
		}
		for (size_t s = 0; s < LINNET_Q32_CHAINS; s++) {
			size_t b0 = linnet_q32_chain(n_blocks, s);
			size_t len = linnet_q32_chain(n_blocks, s + 1) - b0;
			const struct linnet_q32_tile *a =
				(const struct linnet_q32_tile *)mm->act->buf + b0 * tiles;

			for (size_t t = 0; t < n_tok; t += TILE_TOKENS)
				for (size_t i = 0; i < n; i++) {
					size_t r = row + i * PANEL_ROWS, left = mm->row1 - r;
					struct tile_out o = {
						.y = mm->y + t * mm->ldy + (r - mm->row0),
						.ldy = mm->ldy,
						.bias = mm->bias ? mm->bias + r : NULL,
						.n_tok = n_tok - t,
						.rows = { row_mask(left),
							  row_mask(left > 8 ? left - 8 : 0) },
						.first = s == 0,
						.last = s == LINNET_Q32_CHAINS - 1,
					};

					run_tile(&o, panels + i * n_blocks + b0,
						 a + t / LINNET_Q32_TILE * len,
						 t % LINNET_Q32_TILE, len);
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
