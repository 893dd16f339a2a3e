/* SPDX-License-Identifier: MIT */
/*
 * Products of one Q32 type, AVX2, written once for all. The file of a type defines
 *
 *	BLOCK_BYTES
 *	BIAS_SHIFT	the weights are unsigned with a bias of 1 << BIAS_SHIFT; or
 *	HAS_MIN		they are unsigned without a bias, and the type has a minimum; or
 *	SIGNED		they are signed
 *	SUMS16		how many sums of two products fit 16 bits together (1 for SIGNED)
 *	load1(w, p0, p1, b, bits)	blocks b from p0 and p1 on, first form of q32_avx2.h
 *	scales4(p0, p1, &d, &m)		scales (minima) of 4 blocks each
 *	BITS_AT				where fifth bits are, if they are apart: dword b of bits
 *	unpack8(q, &d, &m, p, at)	8 rows of a block
 *
 * includes this file and calls matmul_q32(). See matmul_q32_avx512.h for the plan:
 * few tokens go over rows as they lie, here 4 blocks of two rows a step; many go over
 * panels of 16 rows in tiles of 4 tokens. With VNNI signed weights become unsigned with a
 * bias, too, and SUMS16 means nothing; without, their panels hold 16 bits of each.
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

/* The fifth bits of 4 blocks each, and of one */
ALWAYS_INLINE __m256i bits4(const uint8_t *p0, const uint8_t *p1)
{
#ifdef BITS_AT
	return dwords4(p0 + BITS_AT, p1 + BITS_AT, BLOCK_BYTES);
#else
	(void)p0;
	(void)p1;
	return _mm256_setzero_si256();
#endif
}

ALWAYS_INLINE __m256i bits1(const uint8_t *p0, const uint8_t *p1)
{
#ifdef BITS_AT
	return lanes(p0 + BITS_AT, p1 + BITS_AT);
#else
	return bits4(p0, p1);
#endif
}

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

/* Products of a block of two rows with halves of a token's block: sums of 16 or 32 bits */
ALWAYS_INLINE __m256i products(const __m256i w[2], __m256i lo, __m256i hi)
{
#if LINNET_VNNI
	return VNNI_DPBUSD(VNNI_DPBUSD(_mm256_setzero_si256(), w[0], lo), w[1], hi);
#else
	if (SUMS16 > 1)
		return _mm256_add_epi16(pairs(w[0], lo), pairs(w[1], hi));
	return _mm256_add_epi32(widen_pairs(pairs(w[0], lo)), widen_pairs(pairs(w[1], hi)));
#endif
}

/* Sums of neighbours in two blocks' products, in turn */
ALWAYS_INLINE __m256i add_two(__m256i a, __m256i b)
{
	const __m256i x = _mm256_unpacklo_epi32(a, b), y = _mm256_unpackhi_epi32(a, b);

#if !LINNET_VNNI
	if (SUMS16 > 1) {
		const __m256i sum = _mm256_add_epi16(x, y);

		return SUMS16 >= 8 ? sum : widen_pairs(sum);
	}
#endif
	return _mm256_add_epi32(x, y);
}

/* The same for four blocks, which are dot products then */
ALWAYS_INLINE __m256i add_four(__m256i a, __m256i b)
{
	const __m256i x = _mm256_unpacklo_epi64(a, b), y = _mm256_unpackhi_epi64(a, b);

#if !LINNET_VNNI
	if (SUMS16 >= 8)
		return widen_pairs(_mm256_add_epi16(x, y));
#endif
	return _mm256_add_epi32(x, y);
}

ALWAYS_INLINE void load_unsigned(__m256i w[2], const uint8_t *p0, const uint8_t *p1, int b,
				 __m256i bits)
{
	load1(w, p0, p1, b, bits);
	w[0] = unsigned_weights(w[0]);
	w[1] = unsigned_weights(w[1]);
}

/* acc + dot products times scales, all that belongs to a token in their order */
ALWAYS_INLINE __m256 scaled(__m256 acc, __m256i dots, __m256 d, __m256 m, __m256 nsum, __m256 d_a,
			    __m256 dsum)
{
#ifdef BIAS_SHIFT
	dots = _mm256_add_epi32(dots, _mm256_slli_epi32(_mm256_castps_si256(nsum), BIAS_SHIFT));
#else
	(void)nsum;
#endif
	acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(d, d_a), acc);
	return HAS_MIN ? _mm256_fmadd_ps(m, dsum, acc) : acc;
}

/*
 * One token: acc[i] += 4 blocks of rows 2i and 2i + 1, a row in each lane. What is loaded of the
 * token serves four rows.
 */
ALWAYS_INLINE void step4(__m256 acc[2], const uint8_t *const p[4],
			 const struct linnet_q32_group *g)
{
	const __m256i bits[2] = { bits4(p[0], p[1]), bits4(p[2], p[3]) };
	__m256i s[2][4];

	UNROLL
	for (int b = 0; b < 4; b++) {
		const __m128i *q = (const __m128i *)(g->q + b / 2 * 64 + b % 2 * 16);
		const __m256i lo = _mm256_broadcastsi128_si256(_mm_load_si128(q));
		const __m256i hi = _mm256_broadcastsi128_si256(_mm_load_si128(q + 2));

		UNROLL
		for (int i = 0; i < 2; i++) {
			__m256i w[2];

			load_unsigned(w, p[2 * i], p[2 * i + 1], b, bits[i]);
			s[i][b] = products(w, lo, hi);
			KEEP(s[i][b]);
			if (b % 2)
				s[i][b] = add_two(s[i][b - 1], s[i][b]);
		}
	}
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m256 d, m;

		scales4(p[2 * i], p[2 * i + 1], &d, &m);
		acc[i] = scaled(acc[i], add_four(s[i][1], s[i][3]), d, m,
				_mm256_broadcast_ps((const __m128 *)g->nsum),
				_mm256_broadcast_ps((const __m128 *)g->d),
				_mm256_broadcast_ps((const __m128 *)g->dsum));
	}
}

/* Of two rows' blocks 0 1 2 3, in the lanes, to blocks 0 2 of both and 1 3 */
ALWAYS_INLINE __m256 of_two(__m256 x)
{
	return _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

ALWAYS_INLINE __m256 of_token(const void *four)
{
	return _mm256_permutevar_ps(_mm256_broadcast_ps(four),
				    _mm256_setr_epi32(0, 2, 0, 2, 1, 3, 1, 3));
}

/*
 * More tokens: acc[t] += 4 blocks of two rows. Lanes are blocks 0 and 1, 2 and 3 of a row, so
 * products take a token from memory.
 */
ALWAYS_INLINE void step2(__m256 *acc, const uint8_t *const p[2],
			 const struct linnet_q32_group *g, const int n_tok)
{
	__m256i w[2][2][2];
	__m256 d, m;

	UNROLL
	for (int r = 0; r < 2; r++)
		UNROLL
		for (int i = 0; i < 2; i++) {
			const uint8_t *at = p[r] + 2 * i * BLOCK_BYTES;

			load_unsigned(w[r][i], at, at + BLOCK_BYTES, 0,
				      bits1(at, at + BLOCK_BYTES));
		}
	scales4(p[0], p[1], &d, &m);
	d = of_two(d);
	m = HAS_MIN ? of_two(m) : m;
	UNROLL
	for (int t = 0; t < n_tok; t++, g++) {
		const __m256i *q = (const __m256i *)g->q;
		__m256i s[2];

		UNROLL
		for (int r = 0; r < 2; r++)
			s[r] = add_two(products(w[r][0], q[0], q[1]), products(w[r][1], q[2], q[3]));
		acc[t] = scaled(acc[t], add_four(s[0], s[1]), d, m, of_token(g->nsum),
				of_token(g->d), of_token(g->dsum));
	}
}

/*
 * n_rows at once, 2, or 4 with one token, and n_tok are constants. The rows are far apart: long
 * streams.
 */
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
		__m256 acc[LINNET_Q32_FEW];	/* of tokens, or of pairs of rows */

		UNROLL
		for (int i = 0; i < n_rows; i++) {
			p[i] = w + (r + i * apart < n ? r + i * apart : r) * mm->row_bytes;
		}
		UNROLL
		for (int i = 0; i < n_rows / 2 * n_tok; i++)
			acc[i] = _mm256_setzero_ps();
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
			}
			if (n_rows == 4)
				step4(acc, p, g);
			else
				step2(acc, p, g, n_tok);
			UNROLL
			for (int i = 0; i < n_rows; i++)
				p[i] += STEP_BYTES;
		}
		UNROLL
		for (int i = 0; i < n_rows; i++) {
			const size_t row = r + i * apart;

			if (row >= n)
				break;
			UNROLL
			for (int t = 0; t < n_tok; t++) {
				/* step4 and step2 leave chains of a row in places of their own */
				const int at = n_rows == 4 ? i % 2 * 4 : i * 2;
				const int c1 = n_rows == 4 ? 1 : 4, c2 = n_rows == 4 ? 2 : 1;
				float c[8], y;

				_mm256_storeu_ps(c, acc[i / 2 + t]);
				y = ((c[at] + c[at + c1]) + c[at + c2]) + c[at + c1 + c2];
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
 * Products of bytes with a sign do not fit vpmaddubsw. They become products of 16 bits, half as
 * many as there are weights, by
 *
 *	(w0 + x1) (w1 + x0) = w0 x0 + w1 x1 + w0 w1 + x0 x1
 *
 * whose last two are known before: additions are cheap where vpmaddwd has one or two units.
 */
#define WIDE		(SIGNED && !LINNET_VNNI)
#if defined(BIAS_SHIFT) && !WIDE
#define PANEL_SHIFT	BIAS_SHIFT
#endif

struct panel_block {
#if WIDE
	__m256i even[8][2];	/* elements 4k and 4k + 2 of rows 0..7 and 8..15, as int16 */
	__m256i odd[8][2];	/* 4k + 1 and 4k + 3 */
	__m256i npairs[2];	/* -(w0 w1 + w2 w3 + ..) */
#else
	__m256i q[8][2];	/* elements 4k..4k + 3 of rows 0..7 and 8..15 */
#endif
	__m256 d[2];
#if HAS_MIN
	__m256 m[2];
#endif
};

_Static_assert(sizeof(struct panel_block) <= LINNET_Q32_PANEL_BLOCK, "room in the scratch");

/* A block of a tile's tokens for WIDE panels: even[j] has elements 0 2, 4 6, .. of token j */
struct wide_tokens {
	int32_t even[TILE_TOKENS][8], odd[TILE_TOKENS][8];
	int32_t npairs[TILE_TOKENS];
	float d[TILE_TOKENS];
};

_Static_assert(sizeof(struct wide_tokens) == LINNET_Q32_WIDE_TOKENS, "room in the scratch");

/* Bytes 0 and 2, 1 and 3 of dwords as int16 */
ALWAYS_INLINE __m256i even_bytes(__m256i q)
{
	return _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8);
}

ALWAYS_INLINE __m256i odd_bytes(__m256i q)
{
	return _mm256_srai_epi16(q, 8);
}

ALWAYS_INLINE void put_weights(struct panel_block *out, int h, const __m256i q[8])
{
#if WIDE
	__m256i npairs = _mm256_setzero_si256();

	UNROLL
	for (int k = 0; k < 8; k++) {
		const __m256i even = even_bytes(q[k]), odd = odd_bytes(q[k]);

		out->even[k][h] = even;
		out->odd[k][h] = odd;
		npairs = _mm256_sub_epi32(npairs, _mm256_madd_epi16(even, odd));
	}
	out->npairs[h] = npairs;
#else
	UNROLL
	for (int k = 0; k < 8; k++)
		out->q[k][h] = unsigned_weights(q[k]);
#endif
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
	bool full;		/* all rows are there */
	bool first, last;	/* chain */
};

#if WIDE
/* len blocks of a tile's tokens from j0 on */
static void widen_tokens(struct wide_tokens *x, const struct linnet_q32_tile *a, size_t j0,
			 size_t len)
{
	for (; len; len--, x++, a++) {
		__m256i n[TILE_TOKENS], sum;

		UNROLL
		for (int j = 0; j < TILE_TOKENS; j++) {
			const __m256i q = _mm256_loadu_si256((const __m256i *)a->q[j0 + j]);
			const __m256i even = even_bytes(q), odd = odd_bytes(q);

			_mm256_store_si256((__m256i *)x->even[j], even);
			_mm256_store_si256((__m256i *)x->odd[j], odd);
			n[j] = _mm256_madd_epi16(even, odd);
		}
		sum = _mm256_hadd_epi32(_mm256_hadd_epi32(n[0], n[1]),
					_mm256_hadd_epi32(n[2], n[3]));
		_mm_store_si128((__m128i *)x->npairs, _mm_sub_epi32(
			_mm_setzero_si128(), _mm_add_epi32(_mm256_castsi256_si128(sum),
							   _mm256_extracti128_si256(sum, 1))));
		memcpy(x->d, a->d + j0, sizeof(x->d));
	}
}
#endif

/* Tokens of a tile: of the layout, from j0 on, and widened where the panel is */
struct tile_tokens {
	const struct linnet_q32_tile *a;
	const struct wide_tokens *x;
	size_t j0;
	const char *ahead;	/* half a block a step of what comes next; NULL: nothing */
};

/* The dot products of a block with n_tok tokens */
#if WIDE
ALWAYS_INLINE void dots(__m256i s[TILE_TOKENS][2], const struct panel_block *w,
			const struct tile_tokens *t, const int n_tok)
{
	UNROLL
	for (int j = 0; j < n_tok; j++)
		UNROLL
		for (int h = 0; h < 2; h++)
			s[j][h] = _mm256_add_epi32(w->npairs[h],
						   _mm256_set1_epi32(t->x->npairs[j]));
	UNROLL
	for (int k = 0; k < 8; k++) {
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			const __m256i even = _mm256_set1_epi32(t->x->even[j][k]);
			const __m256i odd = _mm256_set1_epi32(t->x->odd[j][k]);

			UNROLL
			for (int h = 0; h < 2; h++) {
				s[j][h] = _mm256_add_epi32(s[j][h], _mm256_madd_epi16(
					_mm256_add_epi16(w->even[k][h], odd),
					_mm256_add_epi16(w->odd[k][h], even)));
				KEEP(s[j][h]);
			}
		}
	}
}
#elif LINNET_VNNI
ALWAYS_INLINE void dots(__m256i s[TILE_TOKENS][2], const struct panel_block *w,
			const struct tile_tokens *t, const int n_tok)
{
	/* two tokens at a time, whose sums and the tile's fit the registers */
	UNROLL
	for (int j = 0; j < n_tok; j += 2) {
		UNROLL
		for (int k = 0; k < 8; k++) {
			UNROLL
			for (int i = j; i < j + 2; i++) {
				const __m256i x = _mm256_set1_epi32(
					dword(t->a->q[t->j0 + i] + k * 4));

				if (i == n_tok)
					break;
				UNROLL
				for (int h = 0; h < 2; h++) {
					s[i][h] = VNNI_DPBUSD(k ? s[i][h] : _mm256_setzero_si256(),
							      w->q[k][h], x);
					KEEP(s[i][h]);
				}
			}
		}
	}
}
#else
ALWAYS_INLINE void dots(__m256i s[TILE_TOKENS][2], const struct panel_block *w,
			const struct tile_tokens *t, const int n_tok)
{
	__m256i part[TILE_TOKENS][2];

	UNROLL
	for (int k = 0; k < 8; k++) {
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			const __m256i x = _mm256_set1_epi32(dword(t->a->q[t->j0 + j] + k * 4));

			UNROLL
			for (int h = 0; h < 2; h++) {
				__m256i v = _mm256_maddubs_epi16(w->q[k][h], x);

				if (k % SUMS16)
					v = _mm256_add_epi16(part[j][h], v);
				KEEP(v);
				part[j][h] = v;
				if ((k + 1) % SUMS16)
					continue;
				v = widen_pairs(v);
				if (k + 1 > SUMS16)
					v = _mm256_add_epi32(s[j][h], v);
				KEEP(v);
				s[j][h] = v;
			}
		}
	}
}
#endif

/* One chain of a panel times n_tok (a constant) tokens of a tile */
ALWAYS_INLINE void tile(const struct tile_out *o, const struct panel_block *w,
			struct tile_tokens tokens, size_t len, const int n_tok)
{
	const size_t j0 = tokens.j0;
	__m256 acc[TILE_TOKENS][2];

	UNROLL
	for (int j = 0; j < n_tok; j++)
		acc[j][0] = acc[j][1] = _mm256_setzero_ps();
	for (; len; len--, w++, tokens.a++, tokens.x++) {
		const struct linnet_q32_tile *a = tokens.a;
		__m256i s[TILE_TOKENS][2];

		if (tokens.ahead) {
			UNROLL
			for (int i = 0; i < 3; i++)
				prefetch_t1(tokens.ahead + 64 * i);
			tokens.ahead += sizeof(*a) / 2;
		}
		dots(s, w, &tokens, n_tok);
		UNROLL
		for (int j = 0; j < n_tok; j++) {
			const __m256 da = _mm256_set1_ps(WIDE ? tokens.x->d[j] : a->d[j0 + j]);

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

			if (o->full) {	/* stores with a mask are slow */
				if (!o->first)
					v = _mm256_add_ps(_mm256_loadu_ps(y), v);
				if (o->last && o->bias)
					v = _mm256_add_ps(v, _mm256_loadu_ps(o->bias + h * 8));
				_mm256_storeu_ps(y, v);
				continue;
			}
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
		     const struct tile_tokens *tokens, size_t len)
{
	if (o->n_tok == 1)
		tile(o, w, *tokens, len, 1);
	else if (o->n_tok == 2)
		tile(o, w, *tokens, len, 2);
	else if (o->n_tok == 3)
		tile(o, w, *tokens, len, 3);
	else
		tile(o, w, *tokens, len, 4);
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
	struct wide_tokens *wide = (struct wide_tokens *)(panels + at_once * n_blocks);

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

			for (size_t t = 0; t < n_tok; t += TILE_TOKENS) {
				struct tile_tokens tokens = {
					.a = a + t / LINNET_Q32_TILE * len,
					.x = wide,
					.j0 = t % LINNET_Q32_TILE,
				};
				const struct linnet_q32_tile *next = tokens.a + len;

				if (t / LINNET_Q32_TILE + 1 < tiles)
					tokens.ahead = (const char *)next +
						       tokens.j0 / TILE_TOKENS * len * sizeof(*next) / 2;

#if WIDE
				widen_tokens(wide, tokens.a, tokens.j0, len);
#endif
				for (size_t i = 0; i < n; i++) {
					size_t r = row + i * PANEL_ROWS, left = mm->row1 - r;
					struct tile_out o = {
						.y = mm->y + t * mm->ldy + (r - mm->row0),
						.ldy = mm->ldy,
						.bias = mm->bias ? mm->bias + r : NULL,
						.n_tok = n_tok - t,
						.rows = { row_mask(left),
							  row_mask(left > 8 ? left - 8 : 0) },
						.full = left >= PANEL_ROWS,
						.first = s == 0,
						.last = s == LINNET_Q32_CHAINS - 1,
					};

					run_tile(&o, panels + i * n_blocks + b0, &tokens, len);
					tokens.ahead = NULL;
				}
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
