/* SPDX-License-Identifier: MIT */
/*
 * The definition of the operations between the products: norms, rotations, gates,
 * sums, and the layout of the KV cache. Keeps the contract of kernels.h.
 */
#include "kernels/fill.h"
#include "kernels/half.h"
#include "kernels/ref/attention.h"
#include "kernels/ref/math.h"
#include "kernels/ref/quant8.h"

static void rms_norm(float *dst, const float *src, const float *weight, float eps, size_t n)
{
	float acc[16] = { 0 }, s;

	for (size_t i = 0; i < n; i++)
		acc[i % 16] = fmaf(src[i], src[i], acc[i % 16]);
	for (int w = 8; w; w /= 2)
		for (int c = 0; c < w; c++)
			acc[c] += acc[c + w];
	s = 1 / sqrtf(acc[0] / (float)n + eps);
	for (size_t i = 0; i < n; i++)
		dst[i] = weight ? src[i] * s * weight[i] : src[i] * s;
}

static void add(float *dst, const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = a[i] + b[i];
}

static void glu_silu(float *dst, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = gate[i] / (1 + linnet_expf(-gate[i])) * up[i];
}

/* 0.5 (1 + tanh(u)) is 1 / (1 + exp(-2u)), which does not cancel for negative u. */
static void glu_gelu_tanh(float *dst, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float x = gate[i];
		float u2 = x * LINNET_GELU_A * fmaf(x * x, LINNET_GELU_B, 1);

		dst[i] = x / (1 + linnet_expf(-u2)) * up[i];
	}
}

static void softcap(float *dst, const float *src, float cap, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = cap * linnet_tanhf(src[i] / cap);
}

static void rope_norm(float *dst, const float *src, const float *table, size_t r, size_t n)
{
	for (size_t i = 0; i < r; i += 2) {
		float a = src[i], b = src[i + 1], c = table[i], s = table[i + 1];

		dst[i] = fmaf(a, c, -(b * s));
		dst[i + 1] = fmaf(b, c, a * s);
	}
	for (size_t i = r; i < n; i++)
		dst[i] = src[i];
}

static void rope_neox(float *dst, const float *src, const float *table, size_t r, size_t n)
{
	for (size_t i = 0; i < r / 2; i++) {
		float a = src[i], b = src[i + r / 2], c = table[2 * i], s = table[2 * i + 1];

		dst[i] = fmaf(a, c, -(b * s));
		dst[i + r / 2] = fmaf(b, c, a * s);
	}
	for (size_t i = r; i < n; i++)
		dst[i] = src[i];
}

static void axpy(float *acc, float w, const float *src, size_t n)
{
	for (size_t i = 0; i < n; i++)
		acc[i] = fmaf(w, src[i], acc[i]);
}

/* Where the tile of position p begins, and p's place in it. */
static uint8_t *tile_of(void *block, size_t tile_bytes, size_t *p)
{
	uint8_t *tile = (uint8_t *)block + *p / LINNET_KV_TILE * tile_bytes;

	*p %= LINNET_KV_TILE;
	return tile;
}

/* Integers of block b at q[i / group * stride + i % group], its scale at *scale. */
static void put_q8_0(uint8_t *scale, int8_t *q, size_t group, size_t stride, const float *src)
{
	float id, step = linnet_quant8_scale(&id, src);
	uint16_t h = linnet_f32_to_f16(step);

	memcpy(scale, &h, sizeof(h));
	for (size_t i = 0; i < 32; i++)
		q[i / group * stride + i % group] = id ? (int8_t)rintf(src[i] * id) : 0;
}

/* Q4_0: the integer i, in 0..15, goes to nibble i / half % 2 (the high one is the second) of
 * byte i / (2 * half) * stride + i % half * step. */
static void put_q4_0(uint8_t *scale, uint8_t *q, size_t half, size_t stride, size_t step,
		     const float *src)
{
	float id, s = linnet_quant4_scale(&id, src);
	uint16_t h = linnet_f32_to_f16(s);

	memcpy(scale, &h, sizeof(h));
	for (size_t i = 0; i < 32; i++) {
		uint8_t *at = &q[i / (2 * half) * stride + i % half * step];
		float x = id ? rintf(src[i] * id) : 0;
		int v = (x > 7 ? 7 : (int)x) + 8;

		*at = i / half % 2 ? *at | v << 4 : v;
	}
}

static void kv_put_k(uint32_t type, void *block, const float *src, size_t d, size_t p)
{
	uint8_t *tile;

	if (type == LINNET_TYPE_Q8_0) {
		tile = tile_of(block, LINNET_KV_TILE * (d / 32 * 34), &p);
		for (size_t b = 0; b < d / 32; b++)
			put_q8_0(tile + 2 * (LINNET_KV_TILE * b + p),
				 (int8_t *)tile + d + LINNET_KV_TILE * 32 * b + 4 * p, 4,
				 4 * LINNET_KV_TILE, src + 32 * b);
		return;
	}
	if (type == LINNET_TYPE_Q4_0) {
		tile = tile_of(block, LINNET_KV_TILE * (d / 32 * 18), &p);
		for (size_t b = 0; b < d / 32; b++)
			put_q4_0(tile + 2 * (LINNET_KV_TILE * b + p),
				 tile + d + LINNET_KV_TILE * 16 * b + 4 * p, 4,
				 4 * LINNET_KV_TILE, 1, src + 32 * b);
		return;
	}
	if (type == LINNET_TYPE_F32) {
		tile = tile_of(block, LINNET_KV_TILE * 4 * d, &p);
		for (size_t i = 0; i < d; i++)
			memcpy(tile + 4 * (LINNET_KV_TILE * i + p), &src[i], sizeof(*src));
		return;
	}
	tile = tile_of(block, LINNET_KV_TILE * 2 * d, &p);
	for (size_t i = 0; i < d; i++) {
		uint16_t h = linnet_f32_to_f16(src[i]);

		memcpy(tile + 2 * (LINNET_KV_TILE * i + p), &h, sizeof(h));
	}
}

static void kv_put_v(uint32_t type, void *block, const float *src, size_t d, size_t p)
{
	uint8_t *at = block;

	if (type == LINNET_TYPE_Q8_0) {
		for (size_t b = 0; b < d / 32; b++, at += LINNET_KV_PAGE * 34)
			put_q8_0(at + 2 * p,
				 (int8_t *)at + 2 * LINNET_KV_PAGE + p / 4 * 128 + p % 4, 1, 4,
				 src + 32 * b);
		return;
	}
	if (type == LINNET_TYPE_Q4_0) {
		for (size_t b = 0; b < d / 32; b++, at += LINNET_KV_PAGE * 18)
			put_q4_0(at + 2 * p, at + 2 * LINNET_KV_PAGE + p / 4 * 64 + p % 4, 16, 0, 4,
				 src + 32 * b);
		return;
	}
	if (type == LINNET_TYPE_F32) {
		memcpy((uint8_t *)block + 4 * d * p, src, 4 * d);
		return;
	}
	for (size_t i = 0; i < d; i++) {
		uint16_t h = linnet_f32_to_f16(src[i]);

		memcpy((uint8_t *)block + 2 * (d * p + i), &h, sizeof(h));
	}
}

void linnet_kernels_ref_ops(struct linnet_kernels *k)
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
	k->attn = linnet_attention_ref;
}
