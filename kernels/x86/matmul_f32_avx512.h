/* SPDX-License-Identifier: MIT */
/*
 * Products of one type with F32 activations, written once for all. The file of a type
 * defines ELEM_BYTES, load16(p) (16 elements as floats) and load_some(p, mask) (those
 * of the mask, and reads no others), includes this file and calls matmul_f32().
 *
 * The 16 lanes of an accumulator are the 16 chains of the summation order. A tile is
 * 4 rows times up to 6 tokens. For one tile of tokens the rows are a quarter of the
 * range apart, since the memory likes four long streams most; for more, a block of
 * rows that stays in the second-level cache meets all tokens.
 */
#ifndef LINNET_KERNELS_X86_MATMUL_F32_AVX512_H
#define LINNET_KERNELS_X86_MATMUL_F32_AVX512_H

#include "kernels/x86/q32_avx512.h"

#define TILE_TOKENS	6
#define STEP		(64 / ELEM_BYTES)	/* elements of a cache line */
/* Into the second cache well ahead, and from there on into the first */
#define STEP_FAR	4096
#define STEP_NEAR	1536
#define ROWS_SKEW	3
#define ROWS_BYTES	(256u << 10)

/* 4 rows: {r0, r1, r2, r3}, in the order of the reference */
ALWAYS_INLINE __m128 reduce4(const __m512 acc[4])
{
	__m128 v[4];

	UNROLL
	for (int i = 0; i < 4; i++) {
		__m256 h = _mm256_add_ps(_mm512_castps512_ps256(acc[i]),
					 _mm512_extractf32x8_ps(acc[i], 1));

		v[i] = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	}
	_MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
	return _mm_add_ps(_mm_add_ps(v[0], v[2]), _mm_add_ps(v[1], v[3]));
}

/* y[t] = the products of 4 rows with token t, for n_tok (a constant) tokens */
ALWAYS_INLINE void tile(__m128 *y, const uint8_t *const rows[4], const float *x, size_t ldx,
			size_t n, bool ahead, const int n_tok)
{
	const uint8_t *p[4] = { rows[0], rows[1], rows[2], rows[3] };
	const __mmask16 mask = (__mmask16)((1u << n % 16) - 1);
	__m512 acc[TILE_TOKENS][4], w[4];
	size_t k = 0;

	UNROLL
	for (int t = 0; t < n_tok; t++) {
		UNROLL
		for (int i = 0; i < 4; i++)
			acc[t][i] = _mm512_setzero_ps();
	}
	for (; k + 16 <= n; k += 16, x += 16) {
		if (ahead && k % STEP == 0) {
			UNROLL
			for (int i = 0; i < 4; i++) {
				prefetch_t1(p[i] + STEP_FAR);
				prefetch_t0(p[i] + STEP_NEAR);
			}
		}
		UNROLL
		for (int i = 0; i < 4; i++) {
			w[i] = load16(p[i]);
			p[i] += 16 * ELEM_BYTES;
		}
		UNROLL
		for (int t = 0; t < n_tok; t++) {
			const __m512 v = _mm512_load_ps(x + t * ldx);

			UNROLL
			for (int i = 0; i < 4; i++)
				acc[t][i] = _mm512_fmadd_ps(w[i], v, acc[t][i]);
		}
	}
	if (mask) {	/* adding zero would turn a chain's -0 into 0 */
		UNROLL
		for (int i = 0; i < 4; i++)
			w[i] = load_some(p[i], mask);
		UNROLL
		for (int t = 0; t < n_tok; t++) {
			const __m512 v = _mm512_load_ps(x + t * ldx);

			UNROLL
			for (int i = 0; i < 4; i++)
				acc[t][i] = _mm512_mask3_fmadd_ps(w[i], v, acc[t][i], mask);
		}
	}
	UNROLL
	for (int t = 0; t < n_tok; t++)
		y[t] = reduce4(acc[t]);
}

/* Rows row[0..n_rows) and tokens [t0, t0 + n_tok) */
static void run_tile(const struct linnet_matmul *mm, const size_t row[4], int n_rows, size_t t0,
		     int n_tok, bool ahead)
{
	const size_t n = mm->act->n_cols, ldx = linnet_f32_ld(n);
	const float *x = (const float *)mm->act->buf + t0 * ldx;
	const uint8_t *p[4];
	__m128 y[TILE_TOKENS];

	for (int i = 0; i < 4; i++)
		p[i] = (const uint8_t *)mm->w + row[i < n_rows ? i : 0] * mm->row_bytes;
	switch (n_tok) {
	case 1:
		tile(y, p, x, ldx, n, ahead, 1);
		break;
	case 2:
		tile(y, p, x, ldx, n, ahead, 2);
		break;
	case 3:
		tile(y, p, x, ldx, n, ahead, 3);
		break;
	case 4:
		tile(y, p, x, ldx, n, ahead, 4);
		break;
	case 5:
		tile(y, p, x, ldx, n, ahead, 5);
		break;
	default:
		tile(y, p, x, ldx, n, ahead, 6);
	}
	for (int t = 0; t < n_tok; t++) {
		float o[4];

		_mm_storeu_ps(o, y[t]);
		for (int i = 0; i < n_rows; i++)
			mm->y[(t0 + t) * mm->ldy + (row[i] - mm->row0)] =
				mm->bias ? o[i] + mm->bias[row[i]] : o[i];
	}
}

static void few(const struct linnet_matmul *mm)
{
	const size_t n = mm->row1 - mm->row0;
	const size_t quarter = (n + 3) / 4 + (n >= 64 ? ROWS_SKEW : 0);

	for (size_t r = 0; r < quarter && r < n; r++) {
		size_t row[4] = { 0 };
		int n_rows = 0;

		for (size_t i = r; i < n && n_rows < 4; i += quarter)
			row[n_rows++] = mm->row0 + i;
		run_tile(mm, row, n_rows, 0, (int)mm->act->n_tokens, true);
	}
}

static void many(const struct linnet_matmul *mm)
{
	const size_t n_tok = mm->act->n_tokens;
	const size_t fit = ROWS_BYTES / (mm->row_bytes + 1) / 4 * 4, block = fit ? fit : 4;

	for (size_t r0 = mm->row0; r0 < mm->row1; r0 += block) {
		const size_t r1 = mm->row1 - r0 < block ? mm->row1 : r0 + block;

		for (size_t t = 0; t < n_tok; t += TILE_TOKENS)
			for (size_t r = r0; r < r1; r += 4) {
				const size_t row[4] = { r, r + 1, r + 2, r + 3 };
				const size_t left = n_tok - t;

				run_tile(mm, row, r1 - r < 4 ? (int)(r1 - r) : 4, t,
					 left < TILE_TOKENS ? (int)left : TILE_TOKENS, false);
			}
	}
}

static void matmul_f32(const struct linnet_matmul *mm)
{
	if (mm->act->n_tokens == 0)
		return;
	if (mm->act->n_tokens <= TILE_TOKENS)
		few(mm);
	else
		many(mm);
}

#endif
