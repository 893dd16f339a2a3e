/* SPDX-License-Identifier: MIT */
/*
 * The definition of attention over a page of KV. Keeps the contract of
 * kernels/attention.h, one query after the other.
 */
#include "kernels/ref/attention.h"
#include "kernels/half.h"
#include "kernels/ref/math.h"
#include "kernels/ref/quant8.h"

#include <linnet/stream.h>

/* Blocks of 32 with a scale; others are floats. */
static bool is_quantized(uint32_t type)
{
	return type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
}

/*
 * A packed query, F16 and F32: float [dk].
 * Q8_0 and Q4_0: float scale [dk / 32], int8 high digit [dk], int8 low digit [dk].
 */
static size_t query_stride(uint32_t type, uint32_t dk)
{
	return is_quantized(type) ? dk / 32 * sizeof(float) + 2 * (size_t)dk : dk * sizeof(float);
}

static size_t query_bytes(uint32_t type, uint32_t n, uint32_t dk)
{
	return n * query_stride(type, dk);
}

static void prep_digits(uint8_t *buf, const float *src, uint32_t dk)
{
	float *scale = (float *)buf;
	int8_t *high = (int8_t *)(scale + dk / 32), *low = high + dk;

	for (uint32_t b = 0; b < dk / 32; b++) {
		float id;

		scale[b] = linnet_quant8_scale(&id, src + 32 * b);
		for (uint32_t i = 32 * b; i < 32 * b + 32; i++) {
			float x = id ? src[i] * id : 0, r = rintf(x);

			high[i] = (int8_t)r;
			low[i] = (int8_t)rintf((x - r) * 254);
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

static size_t page_scratch(uint32_t type, uint32_t n, uint32_t dk, uint32_t dv)
{
	return LINNET_KV_PAGE * sizeof(float);
}

static float load_f16(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return linnet_f16_to_f32(h);
}

/* Value i of a cache of floats. */
static float load_float(uint32_t type, const uint8_t *p, size_t i)
{
	float x;

	if (type == LINNET_TYPE_F16)
		return load_f16(p + 2 * i);
	memcpy(&x, p + 4 * i, sizeof(x));
	return x;
}

static float dot_floats(const uint8_t *buf, uint32_t type, const uint8_t *k, uint32_t dk, size_t p)
{
	const float *q = (const float *)buf;
	size_t tile = p / LINNET_KV_TILE * LINNET_KV_TILE * dk;
	float dot = 0;

	for (uint32_t d = 0; d < dk; d++)
		dot = fmaf(q[d], load_float(type, k, tile + LINNET_KV_TILE * d +
						     p % LINNET_KV_TILE), dot);
	return dot;
}

/* Integer of a K tile: dimension d of position p. */
static int k_integer(uint32_t type, const uint8_t *values, uint32_t d, size_t p)
{
	if (type == LINNET_TYPE_Q8_0)
		return (int8_t)values[(d / 4 * LINNET_KV_TILE + p) * 4 + d % 4];
	return (values[(d / 8 * LINNET_KV_TILE + p) * 4 + d % 4] >> (d % 8 / 4 * 4) & 15) - 8;
}

/* The same of a V tile's row. */
static int v_integer(uint32_t type, const uint8_t *row, uint32_t d)
{
	if (type == LINNET_TYPE_Q8_0)
		return (int8_t)row[d];
	return (row[d / 32 * 16 + d % 16] >> (d % 32 / 16 * 4) & 15) - 8;
}

/* Bytes of a row of n integers in a tile. */
static size_t integer_bytes(uint32_t type, uint32_t n)
{
	return type == LINNET_TYPE_Q8_0 ? n : n / 2;
}

/* Tiles: scales of n / 32 blocks, then the integers. */
static size_t tile_bytes(uint32_t type, uint32_t n)
{
	return n + LINNET_KV_TILE * integer_bytes(type, n);
}

static float dot_quantized(const uint8_t *buf, uint32_t type, const uint8_t *k, uint32_t dk,
			   size_t p)
{
	const float *scale = (const float *)buf;
	const int8_t *high = (const int8_t *)(scale + dk / 32), *low = high + dk;
	const uint8_t *tile = k + p / LINNET_KV_TILE * tile_bytes(type, dk);
	float dot = 0;

	p %= LINNET_KV_TILE;
	for (uint32_t b = 0; b < dk / 32; b++) {
		float dk_p = load_f16(tile + 2 * (LINNET_KV_TILE * b + p));
		int hi = 0, lo = 0;

		for (uint32_t d = 32 * b; d < 32 * b + 32; d++) {
			int v = k_integer(type, tile + dk, d, p);

			hi += high[d] * v;
			lo += low[d] * v;
		}
		dot = fmaf(fmaf((float)lo, 1 / 254.0f, (float)hi), dk_p * scale[b], dot);
	}
	return dot;
}

static void add_value(float *out, float e, uint32_t type, const uint8_t *v, uint32_t dv, size_t p)
{
	if (is_quantized(type)) {
		const uint8_t *tile = v + p / LINNET_KV_TILE * tile_bytes(type, dv);
		const uint8_t *row = tile + dv + p % LINNET_KV_TILE * integer_bytes(type, dv);

		for (uint32_t d = 0; d < dv; d++) {
			size_t at = LINNET_KV_TILE * (d / 32) + p % LINNET_KV_TILE;

			out[d] = fmaf(e * load_f16(tile + 2 * at), (float)v_integer(type, row, d),
				      out[d]);
		}
		return;
	}
	for (uint32_t d = 0; d < dv; d++)
		out[d] = fmaf(e, load_float(type, v, p * dv + d), out[d]);
}

static void page(const struct linnet_attn_query *q, const struct linnet_attn_page *p)
{
	float *score = p->scratch;

	for (uint32_t i = 0; i < q->n; i++) {
		const uint8_t *buf = (uint8_t *)q->buf + i * query_stride(q->type, q->dk);
		float *out = p->out + i * p->ld_out, max = -INFINITY, sum[16] = { 0 };

		for (uint32_t d = 0; d < q->dv; d++)
			out[d] = 0;
		for (size_t j = p->lo[i]; j < p->hi[i]; j++) {
			float s = is_quantized(q->type) ?
				  dot_quantized(buf, q->type, p->k, q->dk, j) :
				  dot_floats(buf, q->type, p->k, q->dk, j);

			s *= q->scale;
			if (q->softcap)
				s = q->softcap * linnet_tanhf(s / q->softcap);
			score[j] = s;
			max = s > max ? s : max;
		}
		max += 0.0f;	/* -0 becomes +0 */
		for (size_t j = p->lo[i]; j < p->hi[i]; j++) {
			float e = linnet_expf(score[j] - max);

			sum[j % 16] += e;
			add_value(out, e, q->type, p->v, q->dv, j);
		}
		for (int w = 8; w; w /= 2)
			for (int c = 0; c < w; c++)
				sum[c] += sum[c + w];
		p->state[i].max = max;
		p->state[i].sum = sum[0];
	}
}

static void combine(struct linnet_attn_state *acc, float *acc_out,
		    const struct linnet_attn_state *part, const float *part_out, size_t dv)
{
	float max, a, b;

	if (part->sum == 0)
		return;
	if (acc->sum == 0) {
		*acc = *part;
		memcpy(acc_out, part_out, dv * sizeof(*acc_out));
		return;
	}
	max = part->max > acc->max ? part->max : acc->max;
	a = linnet_expf(acc->max - max);
	b = linnet_expf(part->max - max);
	acc->max = max;
	acc->sum = fmaf(acc->sum, a, part->sum * b);
	for (size_t d = 0; d < dv; d++)
		acc_out[d] = fmaf(acc_out[d], a, part_out[d] * b);
}

static void finish(float *dst, const struct linnet_attn_state *acc, const float *acc_out,
		   size_t dv)
{
	for (size_t d = 0; d < dv; d++)
		dst[d] = acc->sum ? acc_out[d] / acc->sum : 0;
}

const struct linnet_attention_ops linnet_attention_ref = {
	.query_bytes = query_bytes,
	.prep = prep,
	.page_scratch = page_scratch,
	.page = page,
	.combine = combine,
	.finish = finish,
};
