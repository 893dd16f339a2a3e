/* SPDX-License-Identifier: MIT */
/*
 * What lies between the products: norms, gates, rotations, KV writes and attention
 * of any shape, tail, alignment and value must give the reference's bits, and touch
 * nothing but their operands.
 */
#include "kernels/half.h"
#include "kernels/ref/math.h"
#include "tests/kernels/checkasm/checkasm.h"
#include "tests/kernels/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* PLAIN: as a model has them. WIDE: any exponent. WILD: plain, some replaced. */
enum values { PLAIN, WIDE, WILD, VALUES_COUNT };

static float random_value(struct checkasm *c, enum values v)
{
	static const float odd[] = {
		0, -0.0f, INFINITY, -INFINITY, NAN, 0x1p-149f, -0x1p-126f, 3.4e38f, -3.4e38f,
		1e-30f, 88.8f, -87.4f, 65520, 0x1p-25f, 0.625f, 127, 1,
	};
	float x = checkasm_normal(c);

	if (v == WIDE)
		return ldexpf(x, (int)checkasm_range(c, 0, 250) - 125);
	if (v == WILD && !checkasm_range(c, 0, 39))
		return odd[checkasm_range(c, 0, sizeof(odd) / sizeof(odd[0]) - 1)];
	return x;
}

static void random_row(struct checkasm *c, float *x, size_t n, enum values v)
{
	for (size_t i = 0; i < n; i++)
		x[i] = random_value(c, v);
}

static struct checkasm_mem floats(struct checkasm *c, size_t n)
{
	return checkasm_alloc(c, 4 * n, 4, checkasm_range(c, 0, CHECKASM_AT_COUNT - 1));
}

/* ---- rows ---- */

static bool own_row(const struct checkasm *c)
{
	switch ((enum row_op)c->arg) {
	case RMS_NORM:
	case RMS_NORM_PLAIN:
		return c->k->rms_norm != c->ref->rms_norm;
	case ADD:
		return c->k->add != c->ref->add;
	case SILU:
		return c->k->glu[LINNET_GLU_SILU] != c->ref->glu[LINNET_GLU_SILU];
	case GELU:
		return c->k->glu[LINNET_GLU_GELU_TANH] != c->ref->glu[LINNET_GLU_GELU_TANH];
	case SOFTCAP:
		return c->k->softcap != c->ref->softcap;
	case ROPE_NORM:
		return c->k->rope[LINNET_ROPE_NORM] != c->ref->rope[LINNET_ROPE_NORM];
	case ROPE_NEOX:
		return c->k->rope[LINNET_ROPE_NEOX] != c->ref->rope[LINNET_ROPE_NEOX];
	case AXPY:
		return c->k->axpy != c->ref->axpy;
	}
	return false;
}

static bool check_row_of(struct checkasm *c, size_t n)
{
	enum row_op op = c->arg;
	enum values v = checkasm_range(c, 0, VALUES_COUNT - 1);
	bool in_place = op != AXPY && checkasm_range(c, 0, 1);
	float number = op == SOFTCAP ? 30 + checkasm_normal(c) :
		       op == AXPY ? checkasm_normal(c) : 1e-5f;
	size_t r = 2 * checkasm_range(c, 0, n / 2), bad;
	struct checkasm_mem a = floats(c, n), b = floats(c, n), d = floats(c, n);
	struct checkasm_mem want = floats(c, n);

	random_row(c, a.p, n, v);
	random_row(c, b.p, n, v);
	random_row(c, d.p, n, v);
	memcpy(want.p, d.p, 4 * n);
	run_row(c->ref, op, want.p, a.p, b.p, number, r, n);
	if (in_place) {
		memcpy(d.p, a.p, 4 * n);
		run_row(c->k, op, d.p, d.p, b.p, number, r, n);
	} else {
		run_row(c->k, op, d.p, a.p, b.p, number, r, n);
	}
	bad = checkasm_differ(d.p, want.p, n);
	if (bad < n)
		checkasm_fail(c, "n %zu, r %zu, values %d%s: element %zu is %a, not %a", n, r, v,
			      in_place ? ", in place" : "", bad, (double)((float *)d.p)[bad],
			      (double)((float *)want.p)[bad]);
	checkasm_free(&a);
	checkasm_free(&b);
	checkasm_free(&d);
	checkasm_free(&want);
	return bad == n;
}

/* A run of all magnitudes, for the selects at the ends of exp and tanh. */
static bool check_sweep(struct checkasm *c)
{
	enum { N = 1 << 14 };
	static const float edges[] = {
		-LINNET_EXP_MIN, -LINNET_EXP_MAX, 2 * LINNET_TANH_SMALL, -2 * LINNET_TANH_SMALL,
	};
	uint32_t low = (uint32_t)checkasm_random(c) >> 14;
	float *x = malloc(4 * N), *one = malloc(4 * N), *got = malloc(4 * N), *want = malloc(4 * N);
	size_t bad;

	for (uint32_t i = 0; i < N; i++) {
		x[i] = linnet_f32_from_bits(i << 18 | low);
		one[i] = 1;
	}
	/* gates -x, and x for a cap of 2, with neighbours */
	for (size_t i = 0; i < 7 * sizeof(edges) / sizeof(edges[0]); i++)
		x[i] = linnet_f32_from_bits(linnet_f32_bits(edges[i / 7]) + i % 7 - 3);
	run_row(c->ref, c->arg, want, x, one, 2, 0, N);
	run_row(c->k, c->arg, got, x, one, 2, 0, N);
	bad = checkasm_differ(got, want, N);
	if (bad < N)
		checkasm_fail(c, "of %a is %a, not %a", (double)x[bad], (double)got[bad],
			      (double)want[bad]);
	free(x);
	free(one);
	free(got);
	free(want);
	return bad == N;
}

static bool check_row(struct checkasm *c)
{
	for (int i = 0; i < 20; i++)
		if (!check_row_of(c, checkasm_range(c, 1, i ? 100 : 5000)))
			return false;
	return c->arg < SILU || c->arg > SOFTCAP || check_sweep(c);
}

static void bench_row(struct checkasm *c)
{
	enum { N = 4096 };
	static float a[N], b[N], d[N];
	double best = 1e30;

	random_row(c, a, N, PLAIN);
	random_row(c, b, N, PLAIN);
	for (int i = 0; i < 30; i++) {
		double t = checkasm_seconds();

		for (int j = 0; j < 20; j++)
			run_row(c->k, c->arg, d, a, b, 0.5f, N, N);
		best = fmin(best, (checkasm_seconds() - t) / 20);
	}
	printf("# %6.3f ns an element of %d\n", best / N * 1e9, N);
}

/* ---- KV cache ---- */

static size_t kv_row_bytes(uint32_t type, size_t d)
{
	return linnet_row_bytes(linnet_type_info(type), d);
}

/* Types in blocks of 32. */
static bool is_quantized(uint32_t type)
{
	return type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
}

static bool own_kv_put(const struct checkasm *c)
{
	return c->k->kv_put[LINNET_KV_K] != c->ref->kv_put[LINNET_KV_K] ||
	       c->k->kv_put[LINNET_KV_V] != c->ref->kv_put[LINNET_KV_V];
}

static bool check_kv_put(struct checkasm *c)
{
	size_t d = is_quantized(c->arg) ? 32 * checkasm_range(c, 1, 8) : checkasm_range(c, 1, 260);
	size_t bytes = LINNET_KV_PAGE * kv_row_bytes(c->arg, d);
	enum linnet_kv_role role = checkasm_range(c, 0, 1);
	struct checkasm_mem got = checkasm_alloc(c, bytes, 4, CHECKASM_END);
	struct checkasm_mem want = checkasm_alloc(c, bytes, 4, CHECKASM_END);
	struct checkasm_mem src = floats(c, d);
	bool ok = true;

	for (int i = 0; i < 30 && ok; i++) {
		size_t p = checkasm_range(c, 0, LINNET_KV_PAGE - 1);
		enum values v = checkasm_range(c, 0, VALUES_COUNT - 1);

		random_row(c, src.p, d, v);
		c->ref->kv_put[role](c->arg, want.p, src.p, d, p);
		c->k->kv_put[role](c->arg, got.p, src.p, d, p);
		/* the whole block: nothing beside the row may change */
		ok = !memcmp(want.p, got.p, bytes);
		if (!ok)
			checkasm_fail(c, "role %d, d %zu, position %zu, values %d", role, d, p, v);
	}
	checkasm_free(&got);
	checkasm_free(&want);
	checkasm_free(&src);
	return ok;
}

static void bench_kv_put(struct checkasm *c)
{
	enum { D = 128 };
	float src[D];
	uint8_t *block = malloc(LINNET_KV_PAGE * kv_row_bytes(c->arg, D));

	random_row(c, src, D, PLAIN);
	for (int role = 0; role < 2; role++) {
		double best = 1e30;

		for (int i = 0; i < 30; i++) {
			double t = checkasm_seconds();

			for (size_t p = 0; p < LINNET_KV_PAGE; p++)
				c->k->kv_put[role](c->arg, block, src, D, p);
			best = fmin(best, checkasm_seconds() - t);
		}
		printf("# %s %6.3f ns an element of %d\n", role ? "V" : "K",
		       best / D / LINNET_KV_PAGE * 1e9, D);
	}
	free(block);
}

/* ---- attention ---- */

#define MAX_QUERIES	128

struct attention {
	uint32_t type, n, dk, dv;
	float scale, softcap;
	size_t ld_out;
	uint16_t lo[MAX_QUERIES], hi[MAX_QUERIES];
	struct checkasm_mem k, v, src;
};

static bool own_attention(const struct checkasm *c)
{
	return c->k->attn.page != c->ref->attn.page;
}

/* Tokens at `base` and on, `group` queries each, as prefill and decode have them, or
 * any ranges. */
static void random_sight(struct checkasm *c, struct attention *a)
{
	size_t base = checkasm_range(c, 0, LINNET_KV_PAGE + 40), group = checkasm_range(c, 1, 8);
	size_t window = checkasm_range(c, 0, 1) ? checkasm_range(c, 0, 200) : SIZE_MAX;
	bool any = !checkasm_range(c, 0, 3);

	for (uint32_t i = 0; i < a->n; i++) {
		size_t pos = base + i / group;
		size_t lo = pos > window ? pos - window : 0, hi = pos + 1;

		if (any) {
			lo = checkasm_range(c, 0, LINNET_KV_PAGE);
			hi = checkasm_range(c, 0, LINNET_KV_PAGE);
		}
		a->hi[i] = (uint16_t)(hi < LINNET_KV_PAGE ? hi : LINNET_KV_PAGE);
		a->lo[i] = (uint16_t)(lo < a->hi[i] ? lo : a->hi[i]);
	}
}

/* Queries and a page. Positions that nobody sees hold NaN in every type. */
static void random_page(struct checkasm *c, struct attention *a, enum values v)
{
	size_t lo = LINNET_KV_PAGE, hi = 0, d = a->dk > a->dv ? a->dk : a->dv;
	size_t k_bytes = LINNET_KV_PAGE * kv_row_bytes(a->type, a->dk);
	size_t v_bytes = LINNET_KV_PAGE * kv_row_bytes(a->type, a->dv);
	float *row = malloc(4 * d);

	a->k = checkasm_alloc(c, k_bytes, 4, CHECKASM_END);
	a->v = checkasm_alloc(c, v_bytes, 4, CHECKASM_END);
	a->src = floats(c, (size_t)a->n * a->dk);
	memset(a->k.p, 0xff, k_bytes);
	memset(a->v.p, 0xff, v_bytes);
	for (uint32_t i = 0; i < a->n; i++)
		if (a->lo[i] < a->hi[i]) {
			lo = a->lo[i] < lo ? a->lo[i] : lo;
			hi = a->hi[i] > hi ? a->hi[i] : hi;
		}
	for (size_t p = lo; p < hi; p++) {
		random_row(c, row, d, v);
		c->ref->kv_put[LINNET_KV_K](a->type, a->k.p, row, a->dk, p);
		random_row(c, row, d, v);
		c->ref->kv_put[LINNET_KV_V](a->type, a->v.p, row, a->dv, p);
	}
	random_row(c, a->src.p, (size_t)a->n * a->dk, v);
	free(row);
}

static void free_page(struct attention *a)
{
	checkasm_free(&a->k);
	checkasm_free(&a->v);
	checkasm_free(&a->src);
}

static void run_page(struct checkasm *c, const struct linnet_kernels *k, const struct attention *a,
		     struct linnet_attn_state *state, float *out)
{
	struct checkasm_mem buf = checkasm_alloc(c, k->attn.query_bytes(a->type, a->n, a->dk), 64,
						 CHECKASM_END);
	struct checkasm_mem scratch = checkasm_alloc(c, k->attn.page_scratch(a->type, a->n, a->dk,
									     a->dv),
						     64, CHECKASM_END);
	struct linnet_attn_query q = {
		.type = a->type, .n = a->n, .dk = a->dk, .dv = a->dv,
		.scale = a->scale, .softcap = a->softcap, .buf = buf.p,
	};
	struct linnet_attn_page p = {
		.k = a->k.p, .v = a->v.p, .next_k = checkasm_range(c, 0, 1) ? a->k.p : NULL,
		.lo = a->lo, .hi = a->hi, .state = state, .out = out, .ld_out = a->ld_out,
		.scratch = scratch.p,
	};
	const float *src[MAX_QUERIES];

	for (uint32_t i = 0; i < a->n; i++)
		src[i] = (const float *)a->src.p + (size_t)i * a->dk;
	k->attn.prep(&q, src);
	k->attn.page(&q, &p);
	checkasm_free(&buf);
	checkasm_free(&scratch);
}

static bool check_page(struct checkasm *c)
{
	static const uint8_t dims[] = { 8, 32, 64, 80, 96, 128, 192 };
	enum values v = checkasm_range(c, 0, VALUES_COUNT - 1);
	bool quantized = is_quantized(c->arg), ok;
	struct attention a = { .type = c->arg };
	struct checkasm_mem got, want, got_state, want_state;
	size_t n_out, bad, bad_state;

	a.n = (uint32_t)checkasm_range(c, 1, checkasm_range(c, 0, 3) ? 9 : 70);
	a.dk = quantized ? 32 * (uint32_t)checkasm_range(c, 1, 8) :
			   (uint32_t)checkasm_range(c, 1, 150);
	if (!quantized && checkasm_range(c, 0, 1))
		a.dk = dims[checkasm_range(c, 0, sizeof(dims) - 1)];
	a.dv = checkasm_range(c, 0, 1) ? a.dk : quantized ? 32 * (uint32_t)checkasm_range(c, 1, 8) :
	       (uint32_t)checkasm_range(c, 1, 260);
	a.ld_out = a.dv + checkasm_range(c, 0, 20);
	a.scale = (float)checkasm_range(c, 1, 8) / sqrtf((float)a.dk);
	a.softcap = checkasm_range(c, 0, 1) ? 30 : 0;
	random_sight(c, &a);
	random_page(c, &a, v);
	n_out = (a.n - 1) * a.ld_out + a.dv;
	got = checkasm_alloc(c, 4 * n_out, 4, CHECKASM_END);
	want = checkasm_alloc(c, 4 * n_out, 4, CHECKASM_END);
	got_state = checkasm_alloc(c, a.n * sizeof(struct linnet_attn_state), 4, CHECKASM_END);
	want_state = checkasm_alloc(c, a.n * sizeof(struct linnet_attn_state), 4, CHECKASM_END);
	run_page(c, c->ref, &a, want_state.p, want.p);
	run_page(c, c->k, &a, got_state.p, got.p);
	/* what lies between the rows of out is compared as well */
	bad = checkasm_differ(got.p, want.p, n_out);
	bad_state = checkasm_differ(got_state.p, want_state.p, 2 * a.n);
	ok = bad == n_out && bad_state == 2 * a.n;
	if (!ok)
		checkasm_fail(c, "n %u, dk %u, dv %u, ld %zu, cap %g, values %d: state %zu of %u, "
			      "out %zu of %zu", a.n, a.dk, a.dv, a.ld_out, (double)a.softcap, v,
			      bad_state / 2, a.n, bad, n_out);
	checkasm_free(&got);
	checkasm_free(&want);
	checkasm_free(&got_state);
	checkasm_free(&want_state);
	free_page(&a);
	return ok;
}

static bool check_attention(struct checkasm *c)
{
	for (int i = 0; i < 6; i++)
		if (!check_page(c))
			return false;
	return true;
}

/* n queries that see all of a page in cache: few as at decode, many as at prefill */
static void bench_cached(struct checkasm *c, uint32_t n, uint32_t d)
{
	const struct linnet_attention_ops *ops = &c->k->attn;
	struct attention a = { .type = c->arg, .n = n, .dk = d, .dv = d };
	struct checkasm_mem buf = checkasm_alloc(c, ops->query_bytes(c->arg, n, d), 64,
						 CHECKASM_START);
	struct checkasm_mem scratch = checkasm_alloc(c, ops->page_scratch(c->arg, n, d, d), 64,
						     CHECKASM_START);
	struct checkasm_mem out = checkasm_alloc(c, 4ull * n * d, 64, CHECKASM_START);
	struct linnet_attn_query q = { c->arg, n, d, d, 0.1f, 0, buf.p };
	struct linnet_attn_state state[MAX_QUERIES];
	struct linnet_attn_page p = {
		.lo = a.lo, .hi = a.hi, .state = state, .out = out.p, .ld_out = d,
		.scratch = scratch.p,
	};
	const float *src[MAX_QUERIES];
	double best = 1e30;

	for (uint32_t i = 0; i < n; i++)
		a.hi[i] = LINNET_KV_PAGE;
	random_page(c, &a, PLAIN);
	for (uint32_t i = 0; i < n; i++)
		src[i] = (const float *)a.src.p + (size_t)i * d;
	p.k = a.k.p;
	p.v = a.v.p;
	ops->prep(&q, src);
	for (int r = 0; r < 40; r++) {
		double t = checkasm_seconds();

		ops->page(&q, &p);
		best = fmin(best, checkasm_seconds() - t);
	}
	printf("# n %3u, d %3u, in cache: %7.1f GFLOP/s\n", n, d,
	       4.0 * n * d * LINNET_KV_PAGE / best * 1e-9);
	free_page(&a);
	checkasm_free(&buf);
	checkasm_free(&scratch);
	checkasm_free(&out);
}

/* One token's n queries over as many pages as leave the caches. */
static void bench_decode(struct checkasm *c, uint32_t n, uint32_t d)
{
	const struct linnet_attention_ops *ops = &c->k->attn;
	size_t block = LINNET_KV_PAGE * kv_row_bytes(c->arg, d);
	size_t blocks = (96u << 20) / block / 2 * 2, bytes = blocks * block;
	struct checkasm_mem kv = checkasm_alloc(c, bytes, 64, CHECKASM_START);
	struct checkasm_mem buf = checkasm_alloc(c, ops->query_bytes(c->arg, n, d), 64,
						 CHECKASM_START);
	struct checkasm_mem scratch = checkasm_alloc(c, ops->page_scratch(c->arg, n, d, d), 64,
						     CHECKASM_START);
	struct checkasm_mem out = checkasm_alloc(c, 4ull * n * d, 64, CHECKASM_START);
	struct checkasm_mem acc_out = checkasm_alloc(c, 4ull * n * d, 64, CHECKASM_START);
	struct linnet_attn_query q = { c->arg, n, d, d, 0.1f, 0, buf.p };
	struct linnet_attn_state part[8], acc[8];
	uint16_t lo[8] = { 0 }, hi[8];
	const float *src[8];
	float row[256];
	double best = 1e30, best_read = 1e30;
	uint64_t sink = 0;

	madvise(kv.p, bytes, MADV_HUGEPAGE);
	random_row(c, row, d, PLAIN);
	for (size_t b = 0; b < blocks; b++)
		for (size_t p = 0; p < LINNET_KV_PAGE; p++)
			c->k->kv_put[b % 2](c->arg, (uint8_t *)kv.p + b * block, row, d, p);
	for (uint32_t i = 0; i < n; i++) {
		src[i] = row;
		hi[i] = LINNET_KV_PAGE;
	}
	for (int r = 0; r < 15; r++) {
		double t = checkasm_seconds();

		ops->prep(&q, src);
		for (uint32_t i = 0; i < n; i++)
			acc[i] = (struct linnet_attn_state) { -INFINITY, 0 };
		for (size_t b = 0; b < blocks; b += 2) {
			const uint8_t *k = (const uint8_t *)kv.p + b * block;
			struct linnet_attn_page p = {
				.k = k, .v = k + block,
				.next_k = b + 2 < blocks ? k + 2 * block : NULL,
				.lo = lo, .hi = hi, .state = part, .out = out.p, .ld_out = d,
				.scratch = scratch.p,
			};

			ops->page(&q, &p);
			for (uint32_t i = 0; i < n; i++)
				ops->combine(&acc[i], (float *)acc_out.p + i * d, &part[i],
					     (float *)out.p + i * d, d);
		}
		best = fmin(best, checkasm_seconds() - t);
		t = checkasm_seconds();
		sink |= c->k->limits.read(kv.p, bytes);
		__asm__ volatile("" : : "r"(sink));
		best_read = fmin(best_read, checkasm_seconds() - t);
	}
	printf("# n %3u, d %3u, decode: %6.2f GB/s, plain read %6.2f (%3.0f %%)\n", n, d,
	       (double)bytes / best * 1e-9, (double)bytes / best_read * 1e-9,
	       100 * best_read / best);
	fflush(stdout);
	checkasm_free(&kv);
	checkasm_free(&buf);
	checkasm_free(&scratch);
	checkasm_free(&out);
	checkasm_free(&acc_out);
}

static void bench_attention(struct checkasm *c)
{
	for (uint32_t d = 64; d <= 128; d *= 2) {
		for (uint32_t n = 1; n <= 8; n *= 2)
			bench_decode(c, n, d);
		for (uint32_t n = 8; n <= 128; n *= 4)
			bench_cached(c, n, d);
	}
}

static bool own_combine(const struct checkasm *c)
{
	return c->k->attn.combine != c->ref->attn.combine ||
	       c->k->attn.finish != c->ref->attn.finish;
}

static bool check_combine(struct checkasm *c)
{
	for (int i = 0; i < 20; i++) {
		size_t dv = checkasm_range(c, 1, 300), bad = 0;
		enum values v = checkasm_range(c, 0, VALUES_COUNT - 1);
		struct checkasm_mem got = floats(c, dv), want = floats(c, dv), part = floats(c, dv);
		struct linnet_attn_state g = { -INFINITY, 0 }, w = g;

		memset(got.p, 0, 4 * dv);
		memset(want.p, 0, 4 * dv);
		for (int j = 0; j < 6; j++) {
			struct linnet_attn_state s = {
				40 * checkasm_normal(c), 1 + fabsf(checkasm_normal(c)),
			};

			random_row(c, part.p, dv, v);
			if (!checkasm_range(c, 0, 3))
				s = (struct linnet_attn_state) { -INFINITY, 0 };
			else if (v == WILD && !checkasm_range(c, 0, 7))
				s.sum = NAN;
			c->ref->attn.combine(&w, want.p, &s, part.p, dv);
			c->k->attn.combine(&g, got.p, &s, part.p, dv);
		}
		if (checkasm_differ(&g.max, &w.max, 1) == 1 &&
		    checkasm_differ(&g.sum, &w.sum, 1) == 1) {
			c->ref->attn.finish(part.p, &w, want.p, dv);
			c->k->attn.finish(got.p, &g, got.p, dv);
			bad = checkasm_differ(got.p, part.p, dv);
		}
		checkasm_free(&got);
		checkasm_free(&want);
		checkasm_free(&part);
		if (bad < dv)
			return checkasm_fail(c, "dv %zu, values %d: out %zu", dv, v, bad);
	}
	return true;
}

#define ROW(name, op)	{ name, op, own_row, check_row, bench_row }
#define BY_TYPE(name, what)							\
	{ name "/F32", LINNET_TYPE_F32, own_##what, check_##what, bench_##what },\
	{ name "/F16", LINNET_TYPE_F16, own_##what, check_##what, bench_##what },\
	{ name "/Q8_0", LINNET_TYPE_Q8_0, own_##what, check_##what, bench_##what },\
	{ name "/Q4_0", LINNET_TYPE_Q4_0, own_##what, check_##what, bench_##what }

const struct checkasm_test checkasm_ops[] = {
	ROW("rms_norm", RMS_NORM),
	ROW("rms_norm/plain", RMS_NORM_PLAIN),
	ROW("add", ADD),
	ROW("glu/silu", SILU),
	ROW("glu/gelu_tanh", GELU),
	ROW("softcap", SOFTCAP),
	ROW("rope/norm", ROPE_NORM),
	ROW("rope/neox", ROPE_NEOX),
	ROW("axpy", AXPY),
	BY_TYPE("kv_put", kv_put),
	BY_TYPE("attention", attention),
	{ "attention/combine", 0, own_combine, check_combine, NULL },
	{ NULL },
};
