/* SPDX-License-Identifier: MIT */
/*
 * Products of every weight type: any shape, row range, number of tokens, alignment
 * and value must give the reference's bits, and touch nothing but its operands.
 */
#include "kernels/half.h"
#include "tests/kernels/checkasm/checkasm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Where the halves of a block are; the other bytes may be anything. */
static const struct {
	uint8_t n, at[2];
} halves[LINNET_TYPE_COUNT] = {
	[LINNET_TYPE_Q4_0] = { 1, { 0 } },
	[LINNET_TYPE_Q4_1] = { 2, { 0, 2 } },
	[LINNET_TYPE_Q5_0] = { 1, { 0 } },
	[LINNET_TYPE_Q5_1] = { 2, { 0, 2 } },
	[LINNET_TYPE_Q8_0] = { 1, { 0 } },
	[LINNET_TYPE_Q2_K] = { 2, { 80, 82 } },
	[LINNET_TYPE_Q3_K] = { 1, { 108 } },
	[LINNET_TYPE_Q4_K] = { 2, { 0, 2 } },
	[LINNET_TYPE_Q5_K] = { 2, { 0, 2 } },
	[LINNET_TYPE_Q6_K] = { 1, { 208 } },
	[LINNET_TYPE_IQ4_NL] = { 1, { 0 } },
	[LINNET_TYPE_IQ4_XS] = { 1, { 0 } },
};

/* What the values of a case are like. */
enum values {
	PLAIN,
	WILD,		/* some infinities, NaN, subnormals, zeros */
	EXTREME,	/* the largest integer sums */
	TINY,		/* products that round to -0, least scales */
	VALUES_COUNT,
};

static float wild_float(struct checkasm *c)
{
	static const uint32_t odd[] = {
		0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000, 0x0d9fbb00,
		0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f800000,
	};

	return linnet_f32_from_bits(odd[checkasm_range(c, 0, sizeof(odd) / sizeof(odd[0]) - 1)]);
}

static uint16_t wild_half(struct checkasm *c)
{
	static const uint16_t odd[] = {
		0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00,
		0x7e00, 0x3c00,
	};

	return odd[checkasm_range(c, 0, sizeof(odd) / sizeof(odd[0]) - 1)];
}

static void random_bytes(struct checkasm *c, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t r = checkasm_random(c);

		memcpy(p + i, &r, n - i < 8 ? n - i : 8);
	}
}

static void random_weights(struct checkasm *c, uint32_t type, uint8_t *w, size_t blocks,
			   enum values v)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	for (size_t b = 0; b < blocks; b++, w += t->block_bytes) {
		bool odd = v == WILD && checkasm_range(c, 0, 199) == 0;

		if (type == LINNET_TYPE_F32) {
			float x = odd ? wild_float(c) : v == TINY ? 1e-38f : checkasm_normal(c);

			memcpy(w, &x, 4);
			continue;
		}
		if (type == LINNET_TYPE_F16 || type == LINNET_TYPE_BF16) {
			float x = checkasm_normal(c);
			uint16_t h = type == LINNET_TYPE_F16 ? linnet_f32_to_f16(x) :
							       linnet_f32_to_bf16(x);

			h = odd ? wild_half(c) : v == TINY ? 1 : h;
			memcpy(w, &h, 2);
			continue;
		}
		random_bytes(c, w, t->block_bytes);
		if (v == EXTREME)	/* the largest integer sums, of one sign and the other */
			memset(w, b % 2 ? 0xff : b % 4 ? 0x00 : 0x80, t->block_bytes);
		if (type == LINNET_TYPE_MXFP4 && !odd)
			w[0] = (uint8_t)(v == TINY ? checkasm_range(c, 0, 3) :
						     checkasm_range(c, 110, 130));
		for (int i = 0; i < halves[type].n; i++) {
			uint16_t h = linnet_f32_to_f16(0.01f * checkasm_normal(c));

			h = odd ? wild_half(c) : v == TINY ? (uint16_t)checkasm_range(c, 0, 3) : h;

			memcpy(w + halves[type].at[i], &h, 2);
		}
	}
}

static void random_activations(struct checkasm *c, float *x, size_t n, enum values v)
{
	for (size_t i = 0; i < n; i++)
		x[i] = checkasm_normal(c);
	if (!n)
		return;
	if (v == EXTREME) {
		for (size_t i = 0; i < n; i++)
			x[i] = i / 64 % 2 ? 3.0f : -3.0f;
		return;
	}
	if (v == TINY) {
		const float all = checkasm_range(c, 0, 1) ? -1e-38f : -1e15f;

		for (size_t i = 0; i < n; i++)
			x[i] = all;
		return;
	}
	/* runs that quantize to nothing, and to one value among zeros */
	for (size_t runs = n / 512 + 1; runs--; ) {
		size_t at = checkasm_range(c, 0, n - 1), len = checkasm_range(c, 1, 96);

		for (size_t i = at; i < n && i < at + len; i++)
			x[i] = 0;
	}
	for (size_t odd = v == WILD ? n / 256 + 1 : 0; odd--; )
		x[checkasm_range(c, 0, n - 1)] = wild_float(c);
	if (v == WILD && checkasm_range(c, 0, 3) == 0)
		for (size_t i = 0; i < n; i++)
			x[i] *= 1e-31f;
}

struct shape {
	size_t n_cols, ldx, n_rows, row_bytes, row0, row1, n_tokens, ldy;
	bool bias;
};

static struct shape random_shape(struct checkasm *c, const struct linnet_type_info *t)
{
	/* one token has kernels of its own, which few rounds would otherwise meet */
	static const uint8_t few[] = { 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33 };
	struct shape s;
	size_t blocks;

	s.n_tokens = few[checkasm_range(c, 0, sizeof(few) - 1)];
	if (checkasm_range(c, 0, 4) == 0)
		s.n_tokens = checkasm_range(c, 1, 70);
	blocks = t->block_elems == 1 ? checkasm_range(c, 1, 600) :
		 t->block_elems == 32 ? checkasm_range(c, 1, 37) : checkasm_range(c, 1, 9);
	if (s.n_tokens <= 4 && checkasm_range(c, 0, 2) == 0)
		blocks *= checkasm_range(c, 0, 3) ? 4 : 10;
	s.n_cols = blocks * t->block_elems;
	s.n_rows = checkasm_range(c, 0, 2) ? checkasm_range(c, 1, 70) : checkasm_range(c, 1, 300);
	while (s.n_rows * s.n_cols * s.n_tokens > 3000000)
		s.n_rows = s.n_rows / 2 + 1;
	s.row0 = 0;
	s.row1 = s.n_rows;
	if (checkasm_range(c, 0, 1)) {
		s.row0 = checkasm_range(c, 0, s.n_rows);
		s.row1 = checkasm_range(c, s.row0, s.n_rows);
	}
	s.row_bytes = linnet_row_bytes(t, s.n_cols);
	if (checkasm_range(c, 0, 3) == 0)
		s.row_bytes += checkasm_range(c, 1, 100);
	s.ldx = s.n_cols + (checkasm_range(c, 0, 1) ? checkasm_range(c, 0, 20) : 0);
	s.ldy = s.row1 - s.row0 + (checkasm_range(c, 0, 1) ? checkasm_range(c, 0, 20) : 0);
	s.bias = checkasm_range(c, 0, 1);
	return s;
}

/* Pack tokens of x, when there is a choice in pieces and from the last to the first. */
static struct checkasm_mem pack(struct checkasm *c, const struct linnet_kernels *k,
				enum linnet_act act, struct linnet_act_buf *a, const float *x,
				const struct shape *s)
{
	struct checkasm_mem m = checkasm_alloc(c, k->act_bytes(act, s->n_cols, s->n_tokens), 64,
					       CHECKASM_END);
	size_t step = k->act_granule * checkasm_range(c, 0, 3);

	step = step ? step : 1;		/* one by one, as gathered tokens are */
	*a = (struct linnet_act_buf){ m.p, s->n_cols, s->n_tokens };
	for (size_t t = (s->n_tokens + step - 1) / step; t--; )
		k->act_pack(act, a, x, s->ldx, t * step,
			    (t + 1) * step < s->n_tokens ? (t + 1) * step : s->n_tokens);
	return m;
}

static void multiply(struct checkasm *c, const struct linnet_kernels *k, uint32_t type,
		     struct linnet_matmul mm)
{
	struct checkasm_mem scratch = checkasm_alloc(c, k->matmul_scratch(type, mm.act->n_cols,
									  mm.act->n_tokens),
						     64, CHECKASM_END);
	size_t row1 = mm.row1, mid = checkasm_range(c, mm.row0, mm.row1);

	mm.scratch = scratch.p;
	if (checkasm_range(c, 0, 3) == 0) {
		mm.row1 = mid;
		k->matmul[type](&mm);
		mm.y += mid - mm.row0;
		mm.row0 = mid;
		mm.row1 = row1;
	}
	k->matmul[type](&mm);
	checkasm_free(&scratch);
}

static bool check_matmul(struct checkasm *c)
{
	uint32_t type = c->arg;
	const struct linnet_type_info *t = linnet_type_info(type);
	struct shape s = random_shape(c, t);
	enum values v = checkasm_range(c, 0, VALUES_COUNT - 1);
	size_t n_y = s.n_tokens ? (s.n_tokens - 1) * s.ldy + s.row1 - s.row0 : 0, bad;
	struct checkasm_mem x, w, bias, y, y_ref, packed, packed_ref;
	struct linnet_act_buf act, act_ref;
	struct linnet_matmul mm = {
		.ldy = s.ldy, .row_bytes = s.row_bytes, .n_rows = s.n_rows,
		.row0 = s.row0, .row1 = s.row1,
	};

	x = checkasm_alloc(c, s.n_tokens ? ((s.n_tokens - 1) * s.ldx + s.n_cols) * 4 : 0, 4,
			   checkasm_range(c, 0, CHECKASM_AT_COUNT - 1));
	w = checkasm_alloc(c, s.n_rows * s.row_bytes, 1,
			   checkasm_range(c, 0, CHECKASM_AT_COUNT - 1));
	bias = checkasm_alloc(c, s.n_rows * 4, 4, CHECKASM_END);
	y = checkasm_alloc(c, n_y * 4, 4, CHECKASM_END);
	y_ref = checkasm_alloc(c, n_y * 4, 4, CHECKASM_END);

	for (size_t i = 0; i < s.n_tokens; i++)
		random_activations(c, (float *)x.p + i * s.ldx, s.n_cols, v);
	for (size_t i = 0; i < s.n_rows; i++)
		random_weights(c, type, (uint8_t *)w.p + i * s.row_bytes,
			       s.n_cols / t->block_elems, v);
	random_activations(c, bias.p, s.n_rows, PLAIN);

	packed = pack(c, c->k, t->act, &act, x.p, &s);
	packed_ref = pack(c, c->ref, t->act, &act_ref, x.p, &s);

	mm.w = w.p;
	mm.bias = s.bias ? bias.p : NULL;
	mm.y = y.p;
	mm.act = &act;
	multiply(c, c->k, type, mm);
	mm.y = y_ref.p;
	mm.act = &act_ref;
	multiply(c, c->ref, type, mm);

	/* What lies between the tokens' rows is compared as well: nobody may write there. */
	bad = checkasm_differ(y.p, y_ref.p, n_y);
	if (bad < n_y)
		checkasm_fail(c,
			      "rows [%zu, %zu) of %zu, %zu columns, %zu tokens, ldy %zu, "
			      "values %d: token %zu row %zu is %a, not %a",
			      s.row0, s.row1, s.n_rows, s.n_cols, s.n_tokens, s.ldy, v, bad / s.ldy,
			      s.row0 + bad % s.ldy, (double)((float *)y.p)[bad],
			      (double)((float *)y_ref.p)[bad]);

	checkasm_free(&x);
	checkasm_free(&w);
	checkasm_free(&bias);
	checkasm_free(&y);
	checkasm_free(&y_ref);
	checkasm_free(&packed);
	checkasm_free(&packed_ref);
	return bad == n_y;
}

static bool own_matmul(const struct checkasm *c)
{
	return c->k->matmul[c->arg] != c->ref->matmul[c->arg];
}

/* int8 products of registers alone, op/s: what this core could do at this moment */
static double int8_peak(const struct linnet_kernels *k)
{
	double t = checkasm_seconds();
	uint64_t ops = k->limits.int8 ? k->limits.int8(100000) : 0;

	return (double)ops / (checkasm_seconds() - t) / 1e9;
}

static void bench_case(struct checkasm *c, size_t n_rows, size_t n_cols, size_t n_tokens,
		       double seconds)
{
	const struct linnet_type_info *t = linnet_type_info(c->arg);
	size_t row_bytes = linnet_row_bytes(t, n_cols), w_bytes = n_rows * row_bytes;
	struct checkasm_mem w = checkasm_alloc(c, w_bytes, 64, CHECKASM_START);
	struct checkasm_mem x = checkasm_alloc(c, n_cols * n_tokens * 4, 64, CHECKASM_START);
	struct checkasm_mem y = checkasm_alloc(c, n_rows * n_tokens * 4, 64, CHECKASM_START);
	struct checkasm_mem a = checkasm_alloc(c, c->k->act_bytes(t->act, n_cols, n_tokens), 64,
					       CHECKASM_START);
	struct checkasm_mem s = checkasm_alloc(c, c->k->matmul_scratch(c->arg, n_cols, n_tokens),
					       64, CHECKASM_START);
	struct linnet_act_buf act = { a.p, n_cols, n_tokens };
	struct linnet_matmul mm = {
		.y = y.p, .ldy = n_rows, .w = w.p, .row_bytes = row_bytes, .n_rows = n_rows,
		.row1 = n_rows, .act = &act, .scratch = s.p,
	};
	double peak = 0, best = 1e30, best_read = 1e30, best_pack = 1e30, end;
	uint64_t sink = 0;
	size_t first = n_rows < 64 ? n_rows : 64;

	for (size_t i = 0; i < first; i++)
		random_weights(c, c->arg, (uint8_t *)w.p + i * row_bytes,
			       n_cols / t->block_elems, PLAIN);
	for (size_t i = first; i < n_rows; i++)
		memcpy((uint8_t *)w.p + i * row_bytes, (uint8_t *)w.p + (i - first) * row_bytes,
		       row_bytes);
	for (size_t i = 0; i < n_tokens; i++)
		random_activations(c, (float *)x.p + i * n_cols, n_cols, PLAIN);

	end = checkasm_seconds() + seconds;
	for (int i = 0; i < (c->once ? 1 : 3) || checkasm_seconds() < end; i++) {
		double t0, t1, t2, t3;

		if (n_tokens >= 64 && t->act != LINNET_ACT_F32 && !c->once)
			peak = fmax(peak, int8_peak(c->k));
		t0 = checkasm_seconds();
		if (n_tokens < 64 && !c->once)
			sink |= c->k->limits.read(w.p, w_bytes);
		t1 = checkasm_seconds();
		c->k->act_pack(t->act, &act, x.p, n_cols, 0, n_tokens);
		t2 = checkasm_seconds();
		c->k->matmul[c->arg](&mm);
		t3 = checkasm_seconds();
		best_read = fmin(best_read, t1 - t0);
		best_pack = fmin(best_pack, t2 - t1);
		best = fmin(best, t3 - t2);
	}
	__asm__ volatile("" : : "r"(sink));
	if (c->once)
		goto done;
	printf("# %s %-6s %5zu x %5zu, %3zu tokens: ", c->k->isa, t->name, n_rows, n_cols,
	       n_tokens);
	if (n_tokens < 64)
		printf("%6.2f GB/s, plain read %6.2f (%3.0f %%), ", (double)w_bytes / best / 1e9,
		       (double)w_bytes / best_read / 1e9, 100 * best_read / best);
	best = 2 * (double)n_rows * (double)n_cols * (double)n_tokens / best / 1e9;
	printf("%7.1f Gop/s, ", best);
	if (peak > 0)
		printf("registers %.0f (%.0f %%), ", peak, 100 * best / peak);
	printf("pack %.1f us\n", best_pack * 1e6);
	fflush(stdout);
done:
	checkasm_free(&w);
	checkasm_free(&x);
	checkasm_free(&y);
	checkasm_free(&a);
	checkasm_free(&s);
}

static void bench_matmul(struct checkasm *c)
{
	static const uint8_t few[] = { 1, 2, 4, 8, 16 };
	const struct linnet_type_info *t = linnet_type_info(c->arg);
	size_t n_cols = 4096, rows = (96u << 20) / linnet_row_bytes(t, n_cols);

	if (c->once) {
		bench_case(c, 64, 1024, c->once, 0);
		return;
	}
	for (size_t i = 0; i < sizeof(few); i++)
		bench_case(c, rows, n_cols, few[i], 0.2);
	bench_case(c, 1024, n_cols, 512, 0.3);
}

#define MATMUL(type) \
	{ "matmul/" #type, LINNET_TYPE_##type, own_matmul, check_matmul, bench_matmul }

const struct checkasm_test checkasm_mat[] = {
	MATMUL(F32),
	MATMUL(F16),
	MATMUL(BF16),
	MATMUL(Q4_0),
	MATMUL(Q4_1),
	MATMUL(Q5_0),
	MATMUL(Q5_1),
	MATMUL(Q8_0),
	MATMUL(IQ4_NL),
	MATMUL(MXFP4),
	MATMUL(Q2_K),
	MATMUL(Q3_K),
	MATMUL(Q4_K),
	MATMUL(Q5_K),
	MATMUL(Q6_K),
	MATMUL(IQ4_XS),
	{ NULL },
};
