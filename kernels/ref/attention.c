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
 * Q8_0 and Q4_0: float scale [dk / 32], int16 [dk].
 */
static size_t query_stride(uint32_t type, uint32_t dk)
{
	return is_quantized(type) ? dk / 32 * sizeof(float) + 2 * (size_t)dk : dk * sizeof(float);
}

static size_t query_bytes(uint32_t type, uint32_t n, uint32_t dk)
{
	return n * query_stride(type, dk);
}

static void prep_integers(uint8_t *buf, const float *src, uint32_t dk)
{
	float *scale = (float *)buf;
	int16_t *q = (int16_t *)(scale + dk / 32);

	for (uint32_t b = 0; b < dk / 32; b++) {
		float id;

		scale[b] = linnet_digits_step(&id, linnet_largest_magnitude(src + 32 * b));
		for (uint32_t i = 32 * b; i < 32 * b + 32; i++)
			q[i] = id ? (int16_t)rintf(src[i] * id) : 0;
	}
}

static void prep(const struct linnet_attn_query *q, const float *const *src)
{
	size_t stride = query_stride(q->type, q->dk);

	for (uint32_t i = 0; i < q->n; i++) {
		uint8_t *buf = (uint8_t *)q->buf + i * stride;

		if (is_quantized(q->type))
			prep_integers(buf, src[i], q->dk);
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

/* The same of a V block, which holds 32 dimensions: d of them, position p. */
static int v_integer(uint32_t type, const uint8_t *block, uint32_t d, size_t p)
{
	const uint8_t *values = block + 2 * LINNET_KV_PAGE;

	if (type == LINNET_TYPE_Q8_0)
		return (int8_t)values[(p / 4 * 32 + d) * 4 + p % 4];
	return (values[(p / 4 * 16 + d % 16) * 4 + p % 4] >> (d / 16 * 4) & 15) - 8;
}

/* Bytes of a row of n integers. */
static size_t integer_bytes(uint32_t type, uint32_t n)
{
	return type == LINNET_TYPE_Q8_0 ? n : n / 2;
}

/* Tiles: scales of n / 32 blocks, then the integers. */
static size_t tile_bytes(uint32_t type, uint32_t n)
{
	return n + LINNET_KV_TILE * integer_bytes(type, n);
}

/* V blocks: scales of all positions, then the integers. */
static size_t v_block_bytes(uint32_t type)
{
	return LINNET_KV_PAGE * (2 + integer_bytes(type, 32));
}

static float dot_quantized(const uint8_t *buf, uint32_t type, const uint8_t *k, uint32_t dk,
			   size_t p)
{
	const float *scale = (const float *)buf;
	const int16_t *q = (const int16_t *)(scale + dk / 32);
	const uint8_t *tile = k + p / LINNET_KV_TILE * tile_bytes(type, dk);
	float dot = 0;

	p %= LINNET_KV_TILE;
	for (uint32_t b = 0; b < dk / 32; b++) {
		float dk_p = load_f16(tile + 2 * (LINNET_KV_TILE * b + p));
		int32_t sum = 0;

		for (uint32_t d = 32 * b; d < 32 * b + 32; d++)
			sum += q[d] * k_integer(type, tile + dk, d, p);
		dot = fmaf((float)sum, dk_p * scale[b], dot);
	}
	return dot;
}

/* out[0..32) of positions [lo, hi) of a V block; e: of the positions */
static void add_quantized(float *out, const float *e, size_t lo, size_t hi, uint32_t type,
			  const uint8_t *block)
{
	float w[LINNET_KV_PAGE], step, id;
	int32_t sum[32] = { 0 };
	uint32_t max = 0;

	for (size_t p = lo; p < hi; p++) {
		float scale = load_f16(block + 2 * p);
		uint32_t u;

		w[p] = e[p] * (type == LINNET_TYPE_Q8_0 ? fabsf(scale) : scale);
		memcpy(&u, &w[p], sizeof(u));
		u &= 0x7fffffff;
		max = u > max ? u : max;
	}
	step = linnet_digits_step(&id, max);
	for (size_t p = lo; id && p < hi; p++) {
		int32_t weight = (int32_t)rintf(w[p] * id);

		for (uint32_t d = 0; d < 32; d++)
			sum[d] += weight * v_integer(type, block, d, p);
	}
	for (uint32_t d = 0; d < 32; d++)
		out[d] = (float)sum[d] * step;
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

			if (q->softcap)
				s = q->softcap * LINNET_LOG2_E *
				    linnet_tanhf(s * q->scale / q->softcap);
			else
				s *= q->scale * LINNET_LOG2_E;
			score[j] = s;
			max = s > max ? s : max;
		}
		max += 0.0f;	/* -0 becomes +0 */
		for (size_t j = p->lo[i]; j < p->hi[i]; j++) {
			score[j] = linnet_exp2f(score[j] - max);
			sum[j % 16] += score[j];
			for (uint32_t d = 0; d < q->dv && !is_quantized(q->type); d++)
				out[d] = fmaf(score[j], load_float(q->type, p->v, j * q->dv + d),
					      out[d]);
		}
		for (uint32_t b = 0; b < q->dv / 32 && is_quantized(q->type); b++)
			add_quantized(out + 32 * b, score, p->lo[i], p->hi[i], q->type,
				      (const uint8_t *)p->v + b * v_block_bytes(q->type));
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
	a = linnet_exp2f(acc->max - max);
	b = linnet_exp2f(part->max - max);
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
