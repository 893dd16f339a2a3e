/* SPDX-License-Identifier: MIT */
/*
 * Products of one type with F32 activations, AVX2, written once for all. The file of
 * a type defines ELEM_BYTES and load8(p) (8 elements as floats), includes this file
 * and calls matmul_f32().
 *
 * Two registers hold the 16 chains of the summation order. A tile is 4 rows of one
 * token or 2 rows of up to 3. For one tile of tokens its rows are far apart, since the
 * memory likes few long streams most; for more, a block of rows that stays in the
 * second-level cache meets all tokens.
 */
#ifndef LINNET_KERNELS_X86_MATMUL_F32_AVX2_H
#define LINNET_KERNELS_X86_MATMUL_F32_AVX2_H

#include "kernels/x86/q32_avx2.h"

#define TILE_ROWS	4
#define TILE_TOKENS	3
/* Into the second cache well ahead, and from there on into the first */
#define STEP_FAR	4096
#define STEP_NEAR	1536
#define ROWS_SKEW	3
#define ROWS_BYTES	(128u << 10)

/* All chains, in the order of the reference */
ALWAYS_INLINE float reduce(__m256 c0, __m256 c8)
{
	const __m256 v = _mm256_add_ps(c0, c8);
	__m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	x = _mm_add_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* y[t][i] = rows[i] times token t, n_rows and n_tok being constants */
ALWAYS_INLINE void tile(float y[TILE_TOKENS][TILE_ROWS], const uint8_t *const *rows,
			const float *x, size_t ldx, size_t n, const int n_rows, const int n_tok)
{
	uint8_t tail[TILE_ROWS][16 * ELEM_BYTES];
	__m256 acc[TILE_TOKENS][TILE_ROWS][2];
	const uint8_t *p[TILE_ROWS];
	size_t k;

	UNROLL
	for (int i = 0; i < n_rows; i++) {
		p[i] = rows[i];
		UNROLL
		for (int t = 0; t < n_tok; t++)
			acc[t][i][0] = acc[t][i][1] = _mm256_setzero_ps();
	}
	for (k = 0; k + 16 <= n; k += 16, x += 16) {
		UNROLL
		for (int i = 0; i < n_rows; i++) {
			prefetch_t1(p[i] + STEP_FAR);
			prefetch_t0(p[i] + STEP_NEAR);
		}
		UNROLL
		for (int h = 0; h < 2; h++) {
			__m256 w[TILE_ROWS];

			UNROLL
			for (int i = 0; i < n_rows; i++)
				w[i] = load8(p[i] + h * 8 * ELEM_BYTES);
			UNROLL
			for (int t = 0; t < n_tok; t++) {
				const __m256 v = _mm256_load_ps(x + t * ldx + h * 8);

				UNROLL
				for (int i = 0; i < n_rows; i++)
					acc[t][i][h] = _mm256_fmadd_ps(w[i], v, acc[t][i][h]);
			}
		}
		UNROLL
		for (int i = 0; i < n_rows; i++)
			p[i] += 16 * ELEM_BYTES;
	}
	if (k < n) {
		memset(tail, 0, sizeof(tail));
		UNROLL
		for (int i = 0; i < n_rows; i++)
			memcpy(tail[i], p[i], (n - k) * ELEM_BYTES);
		UNROLL
		for (int h = 0; h < 2; h++) {
			/* adding zero would turn a chain's -0 into 0 */
			const __m256 in = _mm256_castsi256_ps(_mm256_cmpgt_epi32(
				_mm256_set1_epi32((int)(n - k)),
				_mm256_add_epi32(_mm256_set1_epi32(h * 8),
						 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))));

			UNROLL
			for (int t = 0; t < n_tok; t++) {
				const __m256 v = _mm256_load_ps(x + t * ldx + h * 8);

				UNROLL
				for (int i = 0; i < n_rows; i++) {
					__m256 *c = &acc[t][i][h];

					*c = _mm256_blendv_ps(*c, _mm256_fmadd_ps(
						load8(tail[i] + h * 8 * ELEM_BYTES), v, *c), in);
				}
			}
		}
	}
	UNROLL
	for (int t = 0; t < n_tok; t++) {
		UNROLL
		for (int i = 0; i < n_rows; i++)
			y[t][i] = reduce(acc[t][i][0], acc[t][i][1]);
	}
}

/* Rows r + i * apart for i < n_rows, and tokens [t0, t0 + n_tok) */
static void run_tile(const struct linnet_matmul *mm, size_t r, size_t apart, size_t n_rows,
		     size_t t0, size_t n_tok)
{
	const size_t n = mm->act->n_cols, ldx = linnet_f32_ld(n);
	const float *x = (const float *)mm->act->buf + t0 * ldx;
	float y[TILE_TOKENS][TILE_ROWS];
	const uint8_t *p[TILE_ROWS];

	for (size_t i = 0; i < TILE_ROWS; i++)
		p[i] = (const uint8_t *)mm->w + (r + (i < n_rows ? i * apart : 0)) * mm->row_bytes;
	if (n_tok == 1)
		tile(y, p, x, ldx, n, 4, 1);
	else if (n_tok == 2)
		tile(y, p, x, ldx, n, 2, 2);
	else
		tile(y, p, x, ldx, n, 2, 3);
	for (size_t t = 0; t < n_tok; t++)
		for (size_t i = 0; i < n_rows; i++) {
			const size_t row = r + i * apart;

			mm->y[(t0 + t) * mm->ldy + (row - mm->row0)] =
				mm->bias ? y[t][i] + mm->bias[row] : y[t][i];
		}
}

/* One tile of tokens: far rows */
static void few(const struct linnet_matmul *mm)
{
	const size_t n_tok = mm->act->n_tokens, rows = n_tok == 1 ? 4 : 2;
	const size_t n = mm->row1 - mm->row0;
	const size_t apart = (n + rows - 1) / rows + (n >= 64 ? ROWS_SKEW : 0);

	for (size_t r = 0; r < apart && r < n; r++)
		run_tile(mm, mm->row0 + r, apart, (n - r + apart - 1) / apart, 0, n_tok);
}

static void many(const struct linnet_matmul *mm)
{
	const size_t n_tok = mm->act->n_tokens;
	const size_t fit = ROWS_BYTES / (mm->row_bytes + 1) / 4 * 4, block = fit ? fit : 4;

	for (size_t r0 = mm->row0; r0 < mm->row1; r0 += block) {
		const size_t r1 = mm->row1 - r0 < block ? mm->row1 : r0 + block;

		for (size_t t = 0; t < n_tok; t += TILE_TOKENS) {
			const size_t tok = n_tok - t < TILE_TOKENS ? n_tok - t : TILE_TOKENS;
			const size_t step = tok == 1 ? 4 : 2;

			for (size_t r = r0; r < r1; r += step)
				run_tile(mm, r, 1, r1 - r < step ? r1 - r : step, t, tok);
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
