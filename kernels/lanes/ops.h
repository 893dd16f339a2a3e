/* SPDX-License-Identifier: MIT */
/*
 * The operations of ref/ops.c in sixteen lanes (README.rst). Included by a file that has
 * defined the lanes; lanes_ops() puts the functions into the table.
 */
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "kernels/lanes/math.h"
#include "kernels/lanes/quant8.h"

#include <string.h>

/* i = 0, 16, ... below n, m elements of each */
#define EACH16(i, m, n)	\
	for (size_t i = 0, m; i < (n) && (m = (n) - i < 16 ? (n) - i : 16); i += 16)

V16_INLINE v16 load(const float *p, size_t m)
{
	return m == 16 ? v16_load(p) : v16_load_n(p, m);
}

V16_INLINE void store(float *p, v16 a, size_t m)
{
	if (m == 16)
		v16_store(p, a);
	else
		v16_store_n(p, a, m);
}

static void rms_norm(float *dst, const float *src, const float *weight, float eps, size_t n)
{
	v16 acc = v16_zero(), s;

	EACH16(i, m, n) {
		v16 x = load(src + i, m);

		acc = v16_fma(x, x, acc);
	}
	s = v16_set(1 / sqrtf(v16_sum(acc) / (float)n + eps));
	EACH16(i, m, n) {
		v16 x = v16_mul(load(src + i, m), s);

		store(dst + i, weight ? v16_mul(x, load(weight + i, m)) : x, m);
	}
}

static void add(float *dst, const float *a, const float *b, size_t n)
{
	EACH16(i, m, n)
		store(dst + i, v16_add(load(a + i, m), load(b + i, m)), m);
}

/* x / (1 + exp(-u)) * up */
V16_INLINE v16 gated(v16 x, v16 u, v16 up)
{
	return v16_mul(v16_div(x, v16_add(v16_set(1), v16_exp(v16_neg(u)))), up);
}

static void glu_silu(float *dst, const float *gate, const float *up, size_t n)
{
	EACH16(i, m, n) {
		v16 x = load(gate + i, m);

		store(dst + i, gated(x, x, load(up + i, m)), m);
	}
}

static void glu_gelu_tanh(float *dst, const float *gate, const float *up, size_t n)
{
	EACH16(i, m, n) {
		v16 x = load(gate + i, m);
		v16 u = v16_fma(v16_mul(x, x), v16_set(LINNET_GELU_B), v16_set(1));

		u = v16_mul(v16_mul(x, v16_set(LINNET_GELU_A)), u);
		store(dst + i, gated(x, u, load(up + i, m)), m);
	}
}

static void softcap(float *dst, const float *src, float cap, size_t n)
{
	v16 c = v16_set(cap);

	EACH16(i, m, n)
		store(dst + i, v16_mul(c, v16_tanh(v16_div(load(src + i, m), c))), m);
}

static void copy_rest(float *dst, const float *src, size_t r, size_t n)
{
	/* a hostile stream's operands may overlap in part */
	if (dst != src)
		memmove(dst + r, src + r, (n - r) * sizeof(*dst));
}

static void rope_norm(float *dst, const float *src, const float *table, size_t r, size_t n)
{
	EACH16(i, m, r) {
		v16 x = load(src + i, m), t = load(table + i, m);

		store(dst + i, v16_fmaddsub(x, v16_dup_even(t),
					    v16_mul(v16_swap_pairs(x), v16_dup_odd(t))), m);
	}
	copy_rest(dst, src, r, n);
}

static void rope_neox(float *dst, const float *src, const float *table, size_t r, size_t n)
{
	size_t half = r / 2;

	EACH16(i, m, half) {
		v16 a = load(src + i, m), b = load(src + half + i, m);
		v16 t = load(table + 2 * i, m < 8 ? 2 * m : 16);
		v16 u = m > 8 ? load(table + 2 * i + 16, 2 * m - 16) : v16_zero();
		v16 c = v16_evens(t, u), s = v16_odds(t, u);

		store(dst + i, v16_fmsub(a, c, v16_mul(b, s)), m);
		store(dst + half + i, v16_fma(b, c, v16_mul(a, s)), m);
	}
	copy_rest(dst, src, r, n);
}

static void axpy(float *acc, float w, const float *src, size_t n)
{
	EACH16(i, m, n)
		store(acc + i, v16_fma(v16_set(w), load(src + i, m), load(acc + i, m)), m);
}

/* The integers of a block of 32 at q, its scale at *scale. */
V16_INLINE void quantize(uint8_t *scale, int8_t *q, const float *src)
{
	float id, step = v16_quant8_scale(&id, src);
	uint16_t h = linnet_f32_to_f16(step);

	memcpy(scale, &h, sizeof(h));
	if (id) {
		v16_store_i8(q, v16_mul(v16_load(src), v16_set(id)));
		v16_store_i8(q + 16, v16_mul(v16_load(src + 16), v16_set(id)));
	} else {
		memset(q, 0, 32);
	}
}

/* The same for Q4_0: 0..15. */
V16_INLINE void quantize4(uint8_t *scale, uint8_t *q, const float *src)
{
	float id, step = v16_quant4_scale(&id, src);
	uint16_t h = linnet_f32_to_f16(step);

	memcpy(scale, &h, sizeof(h));
	if (!id) {
		memset(q, 8, 32);
		return;
	}
	for (size_t i = 0; i < 32; i += 16) {
		v16 x = v16_rint(v16_mul(v16_load(src + i), v16_set(id)));

		x = v16_select(v16_lt(v16_set(7), x), v16_set(7), x);
		v16_store_i8((int8_t *)q + i, v16_add(x, v16_set(8)));
	}
}

static void put_k_q4_0(uint8_t *tile, const float *src, size_t d, size_t p)
{
	for (size_t b = 0; b < d / 32; b++) {
		uint8_t *at = tile + d + LINNET_KV_TILE * 16 * b + 4 * p, q[32];

		quantize4(tile + 2 * (LINNET_KV_TILE * b + p), q, src + 32 * b);
		for (size_t i = 0; i < 16; i++)
			at[4 * LINNET_KV_TILE * (i / 4) + i % 4] =
				(uint8_t)(q[i / 4 * 8 + i % 4] | q[i / 4 * 8 + 4 + i % 4] << 4);
	}
}

static void kv_put_k(uint32_t type, void *block, const float *src, size_t d, size_t p)
{
	size_t row_bytes = type == LINNET_TYPE_Q8_0 ? d / 32 * 34 :
			   type == LINNET_TYPE_Q4_0 ? d / 32 * 18 :
			   type == LINNET_TYPE_F32 ? 4 * d : 2 * d;
	uint8_t *tile = (uint8_t *)block + p / LINNET_KV_TILE * LINNET_KV_TILE * row_bytes;

	p %= LINNET_KV_TILE;
	if (type == LINNET_TYPE_Q4_0) {
		put_k_q4_0(tile, src, d, p);
		return;
	}
	if (type == LINNET_TYPE_Q8_0) {
		for (size_t b = 0; b < d / 32; b++) {
			uint8_t *at = tile + d + LINNET_KV_TILE * 32 * b + 4 * p;
			int8_t q[32];

			quantize(tile + 2 * (LINNET_KV_TILE * b + p), q, src + 32 * b);
			for (size_t i = 0; i < 8; i++)
				memcpy(at + 4 * LINNET_KV_TILE * i, q + 4 * i, 4);
		}
		return;
	}
	if (type == LINNET_TYPE_F32) {
		for (size_t i = 0; i < d; i++)
			memcpy(tile + 4 * (LINNET_KV_TILE * i + p), &src[i], sizeof(*src));
		return;
	}
	EACH16(i, m, d) {
		uint16_t h[16];

		v16_store_f16_n(h, load(src + i, m), 16);
		for (size_t j = 0; j < m; j++)
			memcpy(tile + 2 * (LINNET_KV_TILE * (i + j) + p), &h[j], sizeof(h[j]));
	}
}

static void kv_put_v(uint32_t type, void *block, const float *src, size_t d, size_t p)
{
	uint8_t *row;

	if (type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0) {
		const bool q8 = type == LINNET_TYPE_Q8_0;

		for (size_t b = 0; b < d / 32; b++) {
			uint8_t *scale = (uint8_t *)block + LINNET_KV_PAGE * (q8 ? 34 : 18) * b;
			uint8_t *at = scale + 2 * LINNET_KV_PAGE + p / 4 * (q8 ? 128 : 64) + p % 4;
			uint8_t q[32];

			if (q8)
				quantize(scale + 2 * p, (int8_t *)q, src + 32 * b);
			else
				quantize4(scale + 2 * p, q, src + 32 * b);
			for (size_t i = 0; i < (q8 ? 32 : 16); i++)
				at[4 * i] = q8 ? q[i] : (uint8_t)(q[i] | q[16 + i] << 4);
		}
		return;
	}
	if (type == LINNET_TYPE_F32) {
		memcpy((uint8_t *)block + p * 4 * d, src, 4 * d);
		return;
	}
	row = (uint8_t *)block + p * 2 * d;
	EACH16(i, m, d)
		v16_store_f16_n(row + 2 * i, load(src + i, m), m);
}

static void lanes_ops(struct linnet_kernels *k)
{
	k->rms_norm = rms_norm;
	k->add = add;
	k->glu[LINNET_GLU_SILU] = glu_silu;
	k->glu[LINNET_GLU_GELU_TANH] = glu_gelu_tanh;
	k->softcap = softcap;
	k->rope[LINNET_ROPE_NORM] = rope_norm;
	k->rope[LINNET_ROPE_NEOX] = rope_neox;
	k->axpy = axpy;
	k->kv_put[LINNET_KV_K] = kv_put_k;
	k->kv_put[LINNET_KV_V] = kv_put_v;
}
