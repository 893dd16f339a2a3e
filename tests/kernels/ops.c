/* SPDX-License-Identifier: MIT */
/*
 * The reference of the operations between the products, held to stated bounds against
 * double precision. That every other level has the reference's bits is checkasm's.
 */
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "kernels/ref/math.h"
#include "tests/kernels/rows.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32);
}

static uint32_t rnd_below(uint32_t n)
{
	return (uint32_t)((uint64_t)rnd() * n >> 32);
}

static float rnd_normal(void)
{
	float s = 0;

	for (int i = 0; i < 4; i++)
		s += (float)rnd() * 0x1p-32f - 0.5f;
	return s * 1.73f;
}

static double ulp_of(double exact)
{
	float a = fabsf((float)exact);

	return a < 0x1p-126f ? 0x1p-149 :
	       isinf(a) ? 0x1p104 : (double)(nextafterf(a, INFINITY) - a);
}

/* ---- row operations: dst[n] of up to two sources and a parameter ---- */

static const char *const row_name[N_ROW_OPS] = {
	"rms_norm", "rms_norm without weight", "add", "glu silu", "glu gelu-tanh", "softcap",
	"rope norm", "rope neox", "axpy",
};

static float row_param(enum row_op op)
{
	return op == SOFTCAP ? 30 + rnd_normal() : op == AXPY ? rnd_normal() : 1e-5f;
}

/* ---- the reference against double precision ---- */

static void test_math(void)
{
	double worst_exp = 0, worst_exp2 = 0, worst_tanh = 0;
	bool ends = true;

	for (uint64_t u = 0; u < 1ull << 32; u += 509) {
		float x = linnet_f32_from_bits((uint32_t)u), y;
		long double exact;

		if (x != x)
			continue;
		exact = tanhl(x);
		worst_tanh = fmax(worst_tanh, (double)fabsl(linnet_tanhf(x) - exact) /
					      ulp_of((double)exact));
		if (x <= 0) {
			y = linnet_exp2f(x);
			exact = exp2l(x);
			if (exact < 0x1p-126L)
				ends &= y == 0;
			else
				worst_exp2 = fmax(worst_exp2, (double)fabsl(y - exact) /
							      ulp_of((double)exact));
		}
		y = linnet_expf(x);
		exact = expl(x);
		if (exact < 0x1p-126L)
			ends &= y == 0;
		else if (exact > 0x1.ffffffp127L)
			ends &= y == INFINITY;
		else
			worst_exp = fmax(worst_exp, (double)fabsl(y - exact) /
						    ulp_of((double)exact));
	}
	test_ok(worst_exp <= 1, "exp: %.3f ulp at most, bound 1", worst_exp);
	test_ok(worst_exp2 <= 2, "exp2: %.3f ulp at most, bound 2", worst_exp2);
	test_ok(worst_tanh <= 2, "tanh: %.3f ulp at most, bound 2", worst_tanh);
	test_ok(ends, "exp, exp2: 0 below 2^-126, infinite above the largest float");
	test_ok(linnet_expf(-INFINITY) == 0 && linnet_expf(INFINITY) == INFINITY &&
		isnan(linnet_expf(NAN)) && linnet_expf(-0.0f) == 1 &&
		linnet_expf(LINNET_EXP_MIN) >= 0x1p-126f &&
		isfinite(linnet_expf(LINNET_EXP_MAX)), "exp: the ends of its range");
	test_ok(linnet_exp2f(-INFINITY) == 0 && isnan(linnet_exp2f(NAN)) &&
		linnet_exp2f(0) == 1 && linnet_exp2f(-0.0f) == 1 &&
		linnet_exp2f(LINNET_EXP2_MIN) == 0x1p-126f, "exp2: the ends of its range");
	test_ok(linnet_tanhf(INFINITY) == 1 && linnet_tanhf(-INFINITY) == -1 &&
		isnan(linnet_tanhf(NAN)) && signbit(linnet_tanhf(-0.0f)) &&
		linnet_tanhf(0x1p-149f) == 0x1p-149f, "tanh: the ends of its range");
}

static void test_rows_exact(const struct linnet_kernels *ref)
{
	enum { N = 3001 };
	static float a[N], b[N], d[N], d0[N];
	double worst[N_ROW_OPS] = { 0 };

	for (int round = 0; round < 20; round++) {
		const size_t r = 2 * rnd_below(N / 2 + 1);

		for (enum row_op op = 0; op < N_ROW_OPS; op++) {
			float param = row_param(op);
			double ss = 0;

			for (int i = 0; i < N; i++) {
				a[i] = rnd_normal() * (op >= SILU && op <= SOFTCAP ? 20 : 1);
				b[i] = rnd_normal();
				d[i] = d0[i] = rnd_normal();
				ss += (double)a[i] * a[i];
			}
			run_row(ref, op, d, a, b, param, r, N);
			for (size_t i = 0; i < N; i++) {
				double x = a[i], y = b[i], want, size, u, c, s;
				bool neox = op == ROPE_NEOX;
				size_t j = neox ? i % (r / 2 ? r / 2 : 1) : i / 2, p, q;

				switch (op) {
				case RMS_NORM:
				case RMS_NORM_PLAIN:
					want = x / sqrt(ss / N + (double)param) *
					       (op == RMS_NORM ? y : 1);
					size = fabs(want);
					break;
				case ADD:
					want = x + y;
					size = fabs(want);
					break;
				case SILU:
					want = x / (1 + exp(-x)) * y;
					size = fabs(want);
					break;
				case GELU:
					/* as the formula says; it cancels, so in 64 bits */
					u = (double)(0.5L * x *
						     (1 + tanhl(sqrtl(2 / 3.14159265358979323846L) *
								(x + 0.044715L * x * x * x))));
					want = u * y;
					/* tanhl's own cancellation, and exp's argument rounded */
					size = fabs(want) * (1 + fabs(x) + fabs(x * x * x) / 10) +
					       fabs(x) * 1e-12;
					break;
				case SOFTCAP:
					want = (double)param * tanh(x / (double)param);
					size = fabs(want);
					break;
				case AXPY:
					want = (double)d0[i] + (double)param * x;
					size = fabs(want);
					break;
				default:
					want = x;
					size = 1;
					if (i >= r)
						break;
					p = neox ? j : 2 * j;
					q = neox ? j + r / 2 : 2 * j + 1;
					c = b[2 * j];
					s = b[2 * j + 1];
					want = i == p ? a[p] * c - a[q] * s : a[q] * c + a[p] * s;
					size = fabs(a[p]) + fabs(a[q]);
				}
				if (size > 1e-30)
					worst[op] = fmax(worst[op], fabs(d[i] - want) / size);
			}
		}
	}
	for (enum row_op op = 0; op < N_ROW_OPS; op++)
		test_ok(worst[op] <= 4e-7, "reference: %s: %.2g relative, bound 4e-7",
			row_name[op], worst[op]);
}

/* ---- KV cache and attention ---- */

static size_t kv_row_bytes(uint32_t type, size_t d)
{
	return linnet_row_bytes(linnet_type_info(type), d);
}

/* Types in blocks of 32. */
static bool is_quantized(uint32_t type)
{
	return type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
}

struct attn {
	uint32_t type, n, dk, dv;
	float scale, softcap;
	uint16_t lo[8], hi[8];
	uint8_t *k, *v;
};

/* A page of random rows; positions that nobody sees hold NaN. */
static void attn_new(const struct linnet_kernels *ref, struct attn *a)
{
	float row[256];

	a->k = malloc(LINNET_KV_PAGE * kv_row_bytes(a->type, a->dk));
	a->v = malloc(LINNET_KV_PAGE * kv_row_bytes(a->type, a->dv));
	memset(a->k, 0xff, LINNET_KV_PAGE * kv_row_bytes(a->type, a->dk));
	memset(a->v, 0xff, LINNET_KV_PAGE * kv_row_bytes(a->type, a->dv));
	for (size_t p = 0; p < LINNET_KV_PAGE; p++) {
		bool seen = false;

		for (uint32_t i = 0; i < a->n; i++)
			seen |= a->lo[i] <= p && p < a->hi[i];
		if (!seen)
			continue;
		for (size_t i = 0; i < a->dk; i++)
			row[i] = rnd_normal();
		ref->kv_put[LINNET_KV_K](a->type, a->k, row, a->dk, p);
		for (size_t i = 0; i < a->dv; i++)
			row[i] = rnd_normal();
		ref->kv_put[LINNET_KV_V](a->type, a->v, row, a->dv, p);
	}
}

static void attn_free(struct attn *a)
{
	free(a->k);
	free(a->v);
}

static void attn_run(const struct linnet_kernels *k, const struct attn *a, const float *const *src,
		     struct linnet_attn_state *state, float *out)
{
	void *buf = malloc(k->attn.query_bytes(a->type, a->n, a->dk));
	void *scratch = malloc(k->attn.page_scratch(a->type, a->n, a->dk, a->dv));
	struct linnet_attn_query q = {
		.type = a->type, .n = a->n, .dk = a->dk, .dv = a->dv,
		.scale = a->scale, .softcap = a->softcap, .buf = buf,
	};
	struct linnet_attn_page p = {
		.k = a->k, .v = a->v, .lo = a->lo, .hi = a->hi, .state = state, .out = out,
		.ld_out = a->dv, .scratch = scratch,
	};

	k->attn.prep(&q, src);
	k->attn.page(&q, &p);
	free(buf);
	free(scratch);
}

static void test_combine_rules(const struct linnet_kernels *ref)
{
	struct linnet_attn_state acc = { -INFINITY, 0 }, none = acc, part = { 1.25f, 3 };
	float out[2] = { 0 }, zero[2] = { 0 }, v[2] = { 0x1p-140f, -7 };

	ref->attn.combine(&acc, out, &none, zero, 2);
	test_ok(acc.sum == 0 && acc.max == -INFINITY && out[0] == 0,
		"combine: nothing and nothing");
	ref->attn.combine(&acc, out, &part, v, 2);
	test_ok(acc.sum == 3 && acc.max == 1.25f && !memcmp(out, v, sizeof(v)),
		"combine: the first partial is copied");
	ref->attn.combine(&acc, out, &none, zero, 2);
	test_ok(acc.sum == 3 && acc.max == 1.25f && !memcmp(out, v, sizeof(v)),
		"combine: a partial that saw nothing changes nothing");
	ref->attn.finish(out, &none, zero, 2);
	test_ok(out[0] == 0 && out[1] == 0, "finish: a query that saw nothing ends as 0");
}

/* The value that a cache holds, read by its documented layout; *scale: its block's, or 1. */
static double kv_value(const struct attn *a, enum linnet_kv_role role, size_t p, size_t i,
		       double *scale)
{
	const uint8_t *b = role ? a->v : a->k;
	size_t d = role ? a->dv : a->dk, at;
	uint16_t h;

	*scale = 1;
	if (!is_quantized(a->type)) {
		at = role ? p * d + i : p / 16 * 16 * d + i * 16 + p % 16;
		if (a->type == LINNET_TYPE_F32)
			return (double)((const float *)b)[at];
		memcpy(&h, b + 2 * at, 2);
		return (double)linnet_f16_to_f32(h);
	}
	if (role) {
		/* blocks of 32 dimensions: scales of all positions, then the integers */
		b += i / 32 * LINNET_KV_PAGE * kv_row_bytes(a->type, 32);
		memcpy(&h, b + 2 * p, 2);
		b += 2 * LINNET_KV_PAGE;
		at = a->type == LINNET_TYPE_Q8_0 ? p / 4 * 128 + i % 32 * 4 + p % 4 :
						   p / 4 * 64 + i % 16 * 4 + p % 4;
	} else {
		b += p / 16 * 16 * kv_row_bytes(a->type, d);
		memcpy(&h, b + 2 * (i / 32 * 16 + p % 16), 2);
		b += d;
		at = a->type == LINNET_TYPE_Q8_0 ? (i / 4 * 16 + p % 16) * 4 + i % 4 :
						   (i / 8 * 16 + p % 16) * 4 + i % 4;
	}
	*scale = (double)linnet_f16_to_f32(h);
	if (a->type == LINNET_TYPE_Q8_0)
		return *scale * (int8_t)b[at];
	at = b[at] >> (role ? i % 32 / 16 : i % 8 / 4) * 4 & 15;
	return *scale * ((int)at - 8);
}

#define EXACT_PAGES	3
#define EXACT_POS	(EXACT_PAGES * LINNET_KV_PAGE)
#define EXACT_MAX_DIM	256

/* What a query sees of a cache, as the cache holds it, and the softmax over it. */
struct exact {
	uint32_t type, d;
	double k[EXACT_POS][EXACT_MAX_DIM], v[EXACT_POS][EXACT_MAX_DIM];
	double v_scale[EXACT_POS][EXACT_MAX_DIM / 32];
	double prob[EXACT_POS];		/* 0: not seen */
	double slope[EXACT_POS];	/* of the score by the query's product */
	double step[EXACT_MAX_DIM / 32];	/* of the query's digits */
};

static void exact_read(struct exact *x, const struct attn *a)
{
	double scale;

	x->type = a->type;
	x->d = a->dk;
	for (size_t p = 0; p < EXACT_POS; p++)
		for (size_t i = 0; i < x->d; i++) {
			const struct attn *page = &a[p / LINNET_KV_PAGE];

			x->k[p][i] = kv_value(page, LINNET_KV_K, p % LINNET_KV_PAGE, i, &scale);
			x->v[p][i] = kv_value(page, LINNET_KV_V, p % LINNET_KV_PAGE, i, &scale);
			x->v_scale[p][i / 32] = scale;
		}
}

/* The softmax of query i of the pages. */
static void exact_query(struct exact *x, const struct attn *a, int i, const float *q)
{
	double sum = 0, max = -INFINITY;

	for (int p = 0; p < EXACT_POS; p++) {
		const struct attn *page = &a[p / LINNET_KV_PAGE];
		const int at = p % LINNET_KV_PAGE;
		const double scale = (double)page->scale, cap = (double)page->softcap;
		double s = 0;

		x->prob[p] = -INFINITY;
		x->slope[p] = scale;
		if (at < page->lo[i] || at >= page->hi[i])
			continue;
		for (uint32_t j = 0; j < x->d; j++)
			s += (double)q[j] * x->k[p][j];
		s *= scale;
		if (cap) {
			s = tanh(s / cap);
			x->slope[p] = scale * (1 - s * s);
			s *= cap;
		}
		x->prob[p] = s;
		max = fmax(max, s);
	}
	for (int p = 0; p < EXACT_POS; p++)
		sum += x->prob[p] = exp(x->prob[p] - max);
	for (int p = 0; p < EXACT_POS; p++)
		x->prob[p] /= sum;
	for (uint32_t b = 0; b < x->d / 32; b++) {
		x->step[b] = 0;
		for (uint32_t j = 32 * b; j < 32 * b + 32; j++)
			x->step[b] = fmax(x->step[b], fabs((double)q[j]) / 16256);
	}
}

/* An output, the sum of its terms' magnitudes, and what rounding may do to it. */
struct exact_out {
	double want, size, most, variance;
};

/* Whatever is rounded to steps is wrong by up to half a step, evenly spread. */
static void add_rounding(struct exact_out *o, double step)
{
	o->most += step / 2;
	o->variance += step * step / 12;
}

/*
 * Output j. Floats: fused sums of d terms. Digits, as attention.h has them: each value of
 * the query is rounded to steps of its block, which changes all scores, and the output by
 * its derivative; and each weight to steps of the largest one of its page and block.
 */
static struct exact_out exact_output(const struct exact *x, uint32_t j)
{
	struct exact_out o = { 0 };
	double by_query[EXACT_MAX_DIM] = { 0 }, rest;

	for (int p = 0; p < EXACT_POS; p++) {
		if (!x->prob[p])
			continue;
		o.want += x->prob[p] * x->v[p][j];
		o.size += x->prob[p] * fabs(x->v[p][j]);
	}
	for (int p = 0; p < EXACT_POS && is_quantized(x->type); p++) {
		const double by_score = x->prob[p] * (x->v[p][j] - o.want);

		for (uint32_t i = 0; x->prob[p] && i < x->d; i++)
			by_query[i] += by_score * x->slope[p] * x->k[p][i];
	}
	for (uint32_t i = 0; i < x->d && is_quantized(x->type); i++)
		add_rounding(&o, x->step[i / 32] * fabs(by_query[i]));
	for (int g = 0; g < EXACT_PAGES && is_quantized(x->type); g++) {
		const int from = g * LINNET_KV_PAGE, to = from + LINNET_KV_PAGE;
		double top = 0;

		for (int p = from; p < to; p++)
			top = fmax(top, x->prob[p] * fabs(x->v_scale[p][j / 32]));
		for (int p = from; p < to; p++)
			if (x->prob[p] && x->v[p][j])
				add_rounding(&o, top / 16256 *
					     fabs(x->v[p][j] / x->v_scale[p][j / 32]));
	}
	/* What the derivative leaves out: scores are wrong by less than 1/256. And floats. */
	rest = o.most / 64 + 3e-6 * o.size;
	o.most += rest;
	o.variance += rest * rest / 12;
	return o;
}

/*
 * Three pages, combined, against a softmax in double over the values that the cache holds.
 * No output is further away than rounding explains, and with digits, where there are many
 * roundings, all together no further than even ones are.
 */
static void test_attention_exact(const struct linnet_kernels *ref, uint32_t type)
{
	enum { N = 3 };
	struct exact *x = malloc(sizeof(*x));
	double worst = 0, squares = 0;
	unsigned n = 0;

	for (int round = 0; round < 24; round++) {
		struct attn a[EXACT_PAGES];
		struct linnet_attn_state acc[N], part[N];
		uint32_t d = !is_quantized(type) && round & 1 ? 20 : 64 << round % 3;
		float *out = calloc(N * d, 4), *part_out = calloc(N * d, 4);
		float *query = malloc(4ull * N * d);
		const float *src[N];

		for (size_t i = 0; i < N * d; i++)
			query[i] = rnd_normal();
		for (int i = 0; i < N; i++) {
			src[i] = query + i * d;
			acc[i] = (struct linnet_attn_state) { -INFINITY, 0 };
		}
		for (int g = 0; g < EXACT_PAGES; g++) {
			a[g] = (struct attn) {
				.type = type, .n = N, .dk = d, .dv = d,
				.scale = 2 / sqrtf((float)d), .softcap = round & 2 ? 20 : 0,
			};
			for (int i = 0; i < N; i++) {
				a[g].lo[i] = !g && i == 1 ? LINNET_KV_PAGE : 0;
				a[g].hi[i] = g == 2 ? 100 + (uint16_t)i : LINNET_KV_PAGE;
			}
			attn_new(ref, &a[g]);
			attn_run(ref, &a[g], src, part, part_out);
			for (int i = 0; i < N; i++)
				ref->attn.combine(&acc[i], out + i * d, &part[i],
						  part_out + i * d, d);
		}
		exact_read(x, a);
		for (int i = 0; i < N; i++) {
			ref->attn.finish(out + i * d, &acc[i], out + i * d, d);
			exact_query(x, a, i, src[i]);
			for (uint32_t j = 0; j < d; j++) {
				struct exact_out o = exact_output(x, j);
				double far = fabs(out[i * d + j] - o.want);

				/* NaN, too */
				worst = far / o.most <= worst ? worst : far / o.most;
				squares += far * far / o.variance;
				n++;
			}
		}
		for (int g = 0; g < EXACT_PAGES; g++)
			attn_free(&a[g]);
		free(out);
		free(part_out);
		free(query);
	}
	free(x);
	test_ok(worst <= 1 && (!is_quantized(type) || squares / n < 1.1),
		"reference: attention %s: %.2g of the most that rounding does, "
		"%.3g of its variance",
		linnet_type_info(type)->name, worst, squares / n);
}

/* What writing to a cache loses. */
static void test_kv_exact(const struct linnet_kernels *ref, uint32_t type)
{
	struct attn a = { .type = type, .n = 1, .dk = 96, .dv = 96 };
	double worst = 0;

	attn_new(ref, &a);
	for (int role = 0; role < 2; role++)
		for (size_t p = 0; p < LINNET_KV_PAGE; p++) {
			float src[96];

			for (int i = 0; i < 96; i++)
				src[i] = rnd_normal();
			ref->kv_put[role](type, role ? a.v : a.k, src, 96, p);
			for (int i = 0; i < 96; i++) {
				double max = 0, size = fmax(fabs(src[i]), 0x1p-14), m = 0, scale;

				for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
					if (fabs(src[j]) > max) {
						max = fabs(src[j]);
						m = src[j];
					}
				if (type == LINNET_TYPE_Q8_0)
					size = max / 127;
				/* opposite to the extreme value there are 7 steps, not 8 */
				if (type == LINNET_TYPE_Q4_0)
					size = fabs(src[i] + m) < max / 16 ? max / 4 : max / 8;
				worst = fmax(worst, fabs(kv_value(&a, role, p, i, &scale) -
							 src[i]) / size);
			}
		}
	if (type == LINNET_TYPE_F32)
		test_ok(worst == 0, "kv_put F32 keeps every bit");
	else if (type == LINNET_TYPE_F16)
		test_ok(worst <= 0x1p-11, "kv_put F16: %.3g relative, bound 2^-11", worst);
	else if (type == LINNET_TYPE_Q4_0)
		test_ok(worst <= 0.504, "kv_put Q4_0: %.3g steps, bound 0.504", worst);
	else	/* half a step, and the scale's own rounding */
		test_ok(worst <= 0.5625, "kv_put Q8_0: %.3g steps, bound 0.5625", worst);
	attn_free(&a);
}

int main(void)
{
	static const uint32_t kv_types[] = { LINNET_TYPE_F32, LINNET_TYPE_F16, LINNET_TYPE_Q8_0,
					     LINNET_TYPE_Q4_0 };
	struct linnet_kernels ref;

	if (!test_ok(!linnet_kernels_init(&ref, "ref"), "the reference level"))
		return test_end();
	test_math();
	test_rows_exact(&ref);
	test_combine_rules(&ref);
	for (size_t i = 0; i < sizeof(kv_types) / sizeof(kv_types[0]); i++) {
		test_kv_exact(&ref, kv_types[i]);
		test_attention_exact(&ref, kv_types[i]);
	}
	return test_end();
}
