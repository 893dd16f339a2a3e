/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types with two tokens or more.
 *
 * One super-block of 32 rows at a time is unpacked into a panel that stays in L1: a lane
 * is a row, so that everything a type packs into bits is undone for 16 rows at once. All
 * tiles of tokens then meet the panel; their chains (kernels.h) wait in the scratch for
 * the next super-block. vpdpbusd makes the dot products of a sub-block, one vpmulld per
 * sub-block brings its scale in. Q2_K and Q3_K have scales so small that weight times
 * scale fits a byte: there the panel has the products.
 *
 * Weights are unsigned in the panel. Where the type's integers are signed, the offset
 * times the sum of the activations is what the sums start from.
 */
#include "kernels/x86/k_avx512.h"

#include <string.h>

#define GROUPS	2		/* of 16 rows in a panel */
#define ROWS	(16 * GROUPS)

struct panel {
	uint8_t w[64][GROUPS][16][4];		/* weights 4k..4k + 3 */
	int32_t scale[16][GROUPS][16];		/* of sub-blocks */
	int16_t min[8][GROUPS][16][2];		/* of pairs of sub-blocks */
	float d[GROUPS][16];
	float dmin[GROUPS][16];
} __attribute__((aligned(64)));

struct chains {
	float y[LINNET_TILE][GROUPS][16];
} __attribute__((aligned(64)));

/* What the inner loops of the types differ in. */
enum kind {
	SCALE32_MIN,		/* Q4_K Q5_K: a scale and a minimum per 32 */
	SCALE32_OFF128,		/* IQ4_XS: a scale per 32, weight + 128 */
	SCALE16_OFF32,		/* Q6_K: a scale per 16, weight + 32 */
	SCALED_MIN16,		/* Q2_K: a minimum per 16, weight * scale */
	SCALED_OFF124,		/* Q3_K: weight * scale + 124 */
};

LINNET_INLINE __m512i start_of_sums(enum kind kind, const struct linnet_tile256 *a, int t, int j)
{
	switch (kind) {
	case SCALE32_OFF128:
		return _mm512_set1_epi32(a->off32[t][j]);
	case SCALE16_OFF32:
		return _mm512_set1_epi32(a->off16[t][j]);
	default:
		return _mm512_setzero_si512();
	}
}

/* Dword i of an array of int16 */
LINNET_INLINE __m512i broadcast_pair(const int16_t *p, int i)
{
	int32_t x;

	memcpy(&x, p + 2 * i, sizeof(x));
	return _mm512_set1_epi32(x);
}

/* One super-block of 32 rows and n tokens */
LINNET_INLINE void tile_step(struct chains *c, const struct panel *p,
			     const struct linnet_tile256 *a, int n, enum kind kind)
{
	const bool scaled = kind == SCALED_MIN16 || kind == SCALED_OFF124;
	const int len = kind == SCALE16_OFF32 ? 4 : 8;	/* dwords of a sub-block */
	const int min_pairs = kind == SCALE32_MIN ? 4 : kind == SCALED_MIN16 ? 8 : 0;
	__m512i isum[LINNET_TILE][GROUPS];

	for (int t = 0; t < n; t++)
		for (int m = 0; m < GROUPS; m++)
			isum[t][m] = kind == SCALED_OFF124 ?
				_mm512_set1_epi32(-124 * a->sum256[t]) : _mm512_setzero_si512();

	for (int j = 0; j < 64 / len; j++) {
		__m512i dot[LINNET_TILE][GROUPS];

		for (int t = 0; t < n; t++)
			for (int m = 0; m < GROUPS; m++)
				dot[t][m] = start_of_sums(kind, a, t, j);
		LINNET_UNROLL
		for (int k = 0; k < len; k++) {
			__m512i w[GROUPS];

			for (int m = 0; m < GROUPS; m++)
				w[m] = _mm512_load_si512(p->w[j * len + k][m]);
			for (int t = 0; t < n; t++) {
				__m512i q = _mm512_set1_epi32(a->q[t][j * len + k]);

				for (int m = 0; m < GROUPS; m++)
					dot[t][m] = _mm512_dpbusd_epi32(dot[t][m], w[m], q);
			}
		}
		for (int m = 0; m < GROUPS; m++) {
			__m512i scale = _mm512_load_si512(p->scale[j][m]);

			for (int t = 0; t < n; t++) {
				if (!scaled)
					dot[t][m] = _mm512_mullo_epi32(dot[t][m], scale);
				isum[t][m] = _mm512_add_epi32(isum[t][m], dot[t][m]);
			}
		}
	}

	for (int t = 0; t < n; t++) {
		__m512 d_a = _mm512_set1_ps(a->d[t]);

		for (int m = 0; m < GROUPS; m++) {
			__m512 acc = _mm512_load_ps(c->y[t][m]), d = _mm512_load_ps(p->d[m]);
			__m512i msum = _mm512_setzero_si512();

			LINNET_UNROLL
			for (int i = 0; i < min_pairs; i++) {
				const int16_t *sums = min_pairs == 4 ? a->sum32[t] : a->sum16[t];

				msum = _mm512_dpwssd_epi32(msum, _mm512_load_si512(p->min[i][m]),
							   broadcast_pair(sums, i));
			}
			if (min_pairs)
				acc = linnet_chain_min(acc, d, _mm512_load_ps(p->dmin[m]), d_a,
						       isum[t][m], msum);
			else
				acc = linnet_chain(acc, d, d_a, isum[t][m]);
			_mm512_store_ps(c->y[t][m], acc);
		}
	}
}

/* Dwords 0..3 at an offset of 16 rows */
LINNET_INLINE void rows16(__m512i out[4], const uint8_t *const rows[16], int offset)
{
	linnet_load_transposed(out, rows, offset);
}

LINNET_INLINE void put_weights(struct panel *p, int k, int m, __m512i w)
{
	_mm512_store_si512(p->w[k][m], w);
}

LINNET_INLINE void put_d(struct panel *p, int m, __m512i halves)
{
	_mm512_store_ps(p->d[m], linnet_low_half(halves));
	_mm512_store_ps(p->dmin[m], linnet_high_half(halves));
}

/* Byte b of each dword, zero-extended */
LINNET_INLINE __m512i byte_of(__m512i x, int b)
{
	return _mm512_and_si512(_mm512_srli_epi32(x, 8 * b), _mm512_set1_epi32(0xff));
}

/* ... sign-extended */
LINNET_INLINE __m512i signed_byte_of(__m512i x, int b)
{
	return _mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * b), 24);
}

/* ... in all four bytes */
LINNET_INLINE __m512i spread_byte_of(__m512i x, int b)
{
	return _mm512_shuffle_epi8(x, _mm512_add_epi8(
		_mm512_set1_epi8((char)b),
		_mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12,
						     12, 12))));
}

/* Bytes of four minima into two pairs of int16 */
LINNET_INLINE void put_mins(struct panel *p, int pair, int m, __m512i x)
{
	const __m512i first = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
	const __m512i second = _mm512_broadcast_i32x4(
		_mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));

	_mm512_store_si512(p->min[pair][m], _mm512_shuffle_epi8(x, first));
	_mm512_store_si512(p->min[pair + 1][m], _mm512_shuffle_epi8(x, second));
}

LINNET_INLINE __m512i and8(__m512i x, int mask)
{
	return _mm512_and_si512(x, _mm512_set1_epi8((char)mask));
}

/* (x >> n & mask) of bytes, for masks that keep no bit of a neighbour */
LINNET_INLINE __m512i shift_and8(__m512i x, int n, int mask)
{
	return and8(_mm512_srli_epi32(x, (unsigned int)n), mask);
}

LINNET_INLINE __m512i move_bits(__m512i x, int from, int to, int n)
{
	return linnet_affine(x, _mm512_set1_epi64(linnet_move_bits(from, to, n)));
}

/* Q4_K and Q5_K: d, dmin, scales and minima */
LINNET_INLINE void pack_head6(struct panel *p, int m, const uint8_t *const rows[16])
{
	__m512i h[4], scale[2], min[2];

	rows16(h, rows, 0);
	put_d(p, m, h[0]);
	scale[0] = and8(h[1], 63);
	min[0] = and8(h[2], 63);
	scale[1] = _mm512_or_si512(and8(h[3], 15), shift_and8(h[1], 2, 0x30));
	min[1] = _mm512_or_si512(shift_and8(h[3], 4, 15), shift_and8(h[2], 2, 0x30));
	for (int i = 0; i < 2; i++) {
		for (int b = 0; b < 4; b++)
			_mm512_store_si512(p->scale[4 * i + b][m], byte_of(scale[i], b));
		put_mins(p, 2 * i, m, min[i]);
	}
}

LINNET_INLINE void pack_q4_k(struct panel *p, int m, const uint8_t *const rows[16])
{
	pack_head6(p, m, rows);
	for (int c = 0; c < 8; c++) {
		int k = c / 2 * 16 + c % 2 * 4;
		__m512i x[4];

		rows16(x, rows, 16 + 16 * c);
		for (int i = 0; i < 4; i++) {
			put_weights(p, k + i, m, and8(x[i], 15));
			put_weights(p, k + 8 + i, m, shift_and8(x[i], 4, 15));
		}
	}
}

LINNET_INLINE void pack_q5_k(struct panel *p, int m, const uint8_t *const rows[16])
{
	__m512i fifth[2][4];

	pack_head6(p, m, rows);
	rows16(fifth[0], rows, 16);
	rows16(fifth[1], rows, 32);
	LINNET_UNROLL
	for (int c = 0; c < 8; c++) {
		int k = c / 2 * 16 + c % 2 * 4;
		__m512i x[4];

		rows16(x, rows, 48 + 16 * c);
		for (int i = 0; i < 4; i++) {
			__m512i f = fifth[c % 2][i];

			put_weights(p, k + i, m, _mm512_or_si512(
				and8(x[i], 15), move_bits(f, c / 2 * 2, 4, 1)));
			put_weights(p, k + 8 + i, m, _mm512_or_si512(
				shift_and8(x[i], 4, 15), move_bits(f, c / 2 * 2 + 1, 4, 1)));
		}
	}
}

LINNET_INLINE void pack_q6_k(struct panel *p, int m, const uint8_t *const rows[16])
{
	__m512i x[4], tail[4];

	rows16(x, rows, 192);
	for (int j = 0; j < 16; j++)
		_mm512_store_si512(p->scale[j][m], signed_byte_of(x[j / 4], j % 4));
	rows16(tail, rows, 194);	/* the block's last 16 bytes end in d */
	_mm512_store_ps(p->d[m], linnet_high_half(tail[3]));
	LINNET_UNROLL
	for (int h = 0; h < 2; h++) {
		__m512i high[2][4];

		rows16(high[0], rows, 128 + 32 * h);
		rows16(high[1], rows, 144 + 32 * h);
		LINNET_UNROLL
		for (int c = 0; c < 4; c++) {
			int k = 32 * h + 4 * c;

			rows16(x, rows, 64 * h + 16 * c);
			for (int i = 0; i < 4; i++) {
				__m512i f = high[c % 2][i];

				put_weights(p, k + i, m, _mm512_or_si512(
					and8(x[i], 15), move_bits(f, c / 2 * 2, 4, 2)));
				put_weights(p, k + 16 + i, m, _mm512_or_si512(
					shift_and8(x[i], 4, 15), move_bits(f, c / 2 * 2 + 4, 4, 2)));
			}
		}
	}
}

LINNET_INLINE void pack_iq4_xs(struct panel *p, int m, const uint8_t *const rows[16])
{
	const __m512i values = linnet_iq4_values_plus_128();
	__m512i h[4];

	rows16(h, rows, 0);
	_mm512_store_ps(p->d[m], linnet_low_half(h[0]));
	LINNET_UNROLL
	for (int j = 0; j < 8; j++) {
		__m512i low = _mm512_and_si512(_mm512_srli_epi32(h[1], (unsigned int)(4 * j)),
					       _mm512_set1_epi32(15));
		__m512i high = _mm512_and_si512(_mm512_srli_epi32(h[0], (unsigned int)(12 + 2 * j)),
						_mm512_set1_epi32(0x30));
		__m512i x[4];

		_mm512_store_si512(p->scale[j][m], _mm512_sub_epi32(_mm512_or_si512(low, high),
								    _mm512_set1_epi32(32)));
		rows16(x, rows, 8 + 16 * j);
		for (int i = 0; i < 4; i++) {
			put_weights(p, 8 * j + i, m,
				    _mm512_shuffle_epi8(values, and8(x[i], 15)));
			put_weights(p, 8 * j + 4 + i, m,
				    _mm512_shuffle_epi8(values, shift_and8(x[i], 4, 15)));
		}
	}
}

/* x + y in the bytes that have the bit in `bits` */
LINNET_INLINE __m512i add_where(__m512i x, __m512i bits, int bit, __m512i y)
{
	__mmask64 k = _mm512_test_epi8_mask(bits, _mm512_set1_epi8((char)(1 << bit)));

	return _mm512_mask_add_epi8(x, k, x, y);
}

LINNET_INLINE void pack_q2_k(struct panel *p, int m, const uint8_t *const rows[16])
{
	__m512i head[4], tail[4], x[4][4];

	rows16(head, rows, 0);
	rows16(tail, rows, 68);		/* the block's last 16 bytes end in d, dmin */
	put_d(p, m, tail[3]);
	for (int i = 0; i < 4; i++)
		put_mins(p, 2 * i, m, shift_and8(head[i], 4, 15));
	for (int c = 0; c < 4; c++)
		rows16(x[c], rows, 16 + 16 * c);
	LINNET_UNROLL
	for (int j = 0; j < 16; j++) {
		/* elements 16j.. are crumb j / 2 % 4 of 16-byte piece j / 8 * 2 + j % 2 */
		__m512i s = spread_byte_of(and8(head[j / 4], 15), j % 4), s2 = _mm512_add_epi8(s, s);

		for (int i = 0; i < 4; i++) {
			__m512i b = x[j / 8 * 2 + j % 2][i];
			__m512i w = add_where(_mm512_setzero_si512(), b, j / 2 % 4 * 2, s);

			put_weights(p, 4 * j + i, m, add_where(w, b, j / 2 % 4 * 2 + 1, s2));
		}
	}
}

LINNET_INLINE void pack_q3_k(struct panel *p, int m, const uint8_t *const rows[16])
{
	__m512i t[4], s[3], scales[4], x[4][4], high[2][4];

	rows16(t, rows, 94);		/* the block's last 16 bytes end in scales, d */
	_mm512_store_ps(p->d[m], linnet_high_half(t[3]));
	for (int i = 0; i < 3; i++)
		s[i] = _mm512_shrdi_epi32(t[i], t[i + 1], 16);
	scales[0] = _mm512_or_si512(and8(s[0], 15), and8(_mm512_slli_epi32(s[2], 4), 0x30));
	scales[1] = _mm512_or_si512(and8(s[1], 15), and8(_mm512_slli_epi32(s[2], 2), 0x30));
	scales[2] = _mm512_or_si512(shift_and8(s[0], 4, 15), and8(s[2], 0x30));
	scales[3] = _mm512_or_si512(shift_and8(s[1], 4, 15), shift_and8(s[2], 2, 0x30));

	rows16(high[0], rows, 0);
	rows16(high[1], rows, 16);
	for (int c = 0; c < 4; c++)
		rows16(x[c], rows, 32 + 16 * c);
	LINNET_UNROLL
	for (int j = 0; j < 16; j++) {
		__m512i f = _mm512_sub_epi8(scales[j / 4], _mm512_set1_epi8(32));
		__m512i s1 = spread_byte_of(f, j % 4), s2 = _mm512_add_epi8(s1, s1);
		__m512i s4 = _mm512_add_epi8(s2, s2);
		__m512i none = _mm512_sub_epi8(_mm512_set1_epi8(124), s4);

		for (int i = 0; i < 4; i++) {
			__m512i b = x[j / 8 * 2 + j % 2][i];
			__m512i w = add_where(none, b, j / 2 % 4 * 2, s1);

			w = add_where(w, b, j / 2 % 4 * 2 + 1, s2);
			put_weights(p, 4 * j + i, m, add_where(w, high[j % 2][i], j / 2, s4));
		}
	}
}

typedef void pack_fn(struct panel *p, int m, const uint8_t *const rows[16]);

/* y of n_rows rows from their chains */
static void store(const struct linnet_matmul *mm, const struct chains *c, size_t row,
		  size_t n_rows)
{
	for (int m = 0; m < GROUPS; m++) {
		size_t done = 16 * (size_t)m;
		__mmask16 mask = linnet_row_mask(n_rows > done ? n_rows - done : 0);
		__m512 bias = _mm512_setzero_ps();

		if (mm->bias)
			bias = _mm512_maskz_loadu_ps(mask, mm->bias + row + done);
		for (size_t t = 0; t < mm->act->n_tokens; t++) {
			__m512 y = _mm512_load_ps(c[t / LINNET_TILE].y[t % LINNET_TILE][m]);

			if (mm->bias)
				y = _mm512_add_ps(y, bias);
			_mm512_mask_storeu_ps(mm->y + t * mm->ldy + (row - mm->row0) + done, mask, y);
		}
	}
}

LINNET_INLINE void product(const struct linnet_matmul *mm, size_t block, pack_fn *pack,
			   enum kind kind)
{
	const size_t n_blocks = mm->act->n_cols / 256, n_tiles = linnet_tiles(mm->act->n_tokens);
	const int n_last = (int)(mm->act->n_tokens - (n_tiles - 1) * LINNET_TILE);
	struct panel *p = mm->scratch;
	struct chains *c = (struct chains *)(p + 1);

	for (size_t row = mm->row0; row < mm->row1; row += ROWS) {
		size_t n_rows = mm->row1 - row < ROWS ? mm->row1 - row : ROWS;
		const struct linnet_tile256 *a = mm->act->buf;
		const uint8_t *rows[ROWS];

		/* rows that are not there: the last one again, for nothing */
		for (size_t r = 0; r < ROWS; r++)
			rows[r] = (const uint8_t *)mm->w +
				  (row + (r < n_rows ? r : n_rows - 1)) * mm->row_bytes;
		memset(c, 0, n_tiles * sizeof(*c));
		for (size_t b = 0; b < n_blocks; b++, a += n_tiles) {
			for (int m = 0; m < GROUPS; m++)
				pack(p, m, rows + 16 * m);
			for (size_t i = 0; i + 1 < n_tiles; i++)
				tile_step(c + i, p, a + i, LINNET_TILE, kind);
			switch (n_last) {
			case 1:
				tile_step(c + n_tiles - 1, p, a + n_tiles - 1, 1, kind);
				break;
			case 2:
				tile_step(c + n_tiles - 1, p, a + n_tiles - 1, 2, kind);
				break;
			case 3:
				tile_step(c + n_tiles - 1, p, a + n_tiles - 1, 3, kind);
				break;
			default:
				tile_step(c + n_tiles - 1, p, a + n_tiles - 1, 4, kind);
			}
			for (int r = 0; r < ROWS; r++)
				rows[r] += block;
		}
		store(mm, c, row, n_rows);
	}
}

size_t linnet_mat_k_scratch_avx512(size_t n_tokens)
{
	return sizeof(struct panel) + linnet_tiles(n_tokens) * sizeof(struct chains);
}

void linnet_mat_q2_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 84, pack_q2_k, SCALED_MIN16);
}

void linnet_mat_q3_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 110, pack_q3_k, SCALED_OFF124);
}

void linnet_mat_q4_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 144, pack_q4_k, SCALE32_MIN);
}

void linnet_mat_q5_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 176, pack_q5_k, SCALE32_MIN);
}

void linnet_mat_q6_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 210, pack_q6_k, SCALE16_OFF32);
}

void linnet_mat_iq4_xs_avx512(const struct linnet_matmul *mm)
{
	product(mm, 136, pack_iq4_xs, SCALE32_OFF128);
}
