/* SPDX-License-Identifier: MIT */
/*
 * The reference kernels against what they did not define: small floats against exact
 * arithmetic, block decoders against published slices of real checkpoints, products
 * against double precision within the error that quantized activations allow.
 */
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <string.h>

/* All halves there and back; floats on and beside every border between two halves. */
static void check_f16(void)
{
	size_t bad = 0, bad_round = 0;

	for (uint32_t h = 0; h < 0x10000; h++) {
		int e = h >> 10 & 31, m = h & 0x3ff;
		double want = e == 31 ? (m ? NAN : INFINITY) :
			      ldexp(e ? m + 1024 : m, (e ? e : 1) - 25);
		float x = linnet_f16_to_f32((uint16_t)h);

		want = h & 0x8000 ? -want : want;
		if (isnan(want))
			bad += !isnan(x) || (linnet_f32_to_f16(x) & 0x7fff) <= 0x7c00;
		else
			bad += (double)x != want || !signbit(x) != !(h & 0x8000) ||
			       linnet_f32_to_f16(x) != h;
	}
	test_ok(!bad, "f16: %zu of 65536 values wrong", bad);

	for (uint32_t h = 0; h < 0x7c00; h++) {
		double lo = (double)linnet_f16_to_f32((uint16_t)h);
		double hi = h == 0x7bff ? 65536 : (double)linnet_f16_to_f32((uint16_t)(h + 1));
		float mid = (float)((lo + hi) / 2);
		uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);

		bad_round += linnet_f32_to_f16(mid) != even;
		bad_round += linnet_f32_to_f16(nextafterf(mid, 0)) != h;
		bad_round += linnet_f32_to_f16(nextafterf(mid, INFINITY)) != h + 1;
		bad_round += linnet_f32_to_f16(-mid) != (even | 0x8000);
	}
	test_ok(!bad_round, "f16: %zu of 126976 roundings wrong", bad_round);
}

static void check_bf16(void)
{
	size_t bad = 0;

	for (uint32_t b = 0; b < 0x10000; b++) {
		float x = linnet_bf16_to_f32((uint16_t)b);
		uint32_t u = linnet_f32_bits(x), up = b + 1;

		bad += u != b << 16;
		if (isnan(x)) {
			bad += !isnan(linnet_bf16_to_f32(linnet_f32_to_bf16(x)));
			continue;
		}
		bad += linnet_f32_to_bf16(x) != b;
		if (isinf(x))
			continue;
		bad += linnet_f32_to_bf16(linnet_f32_from_bits(u + 0x7fff)) != b;
		bad += linnet_f32_to_bf16(linnet_f32_from_bits(u + 0x8000)) != (b & 1 ? up : b);
		bad += linnet_f32_to_bf16(linnet_f32_from_bits(u + 0x8001)) != up;
	}
	test_ok(!bad, "bf16: %zu values wrong", bad);

	bad = 0;
	for (int e = 0; e < 256; e++)
		bad += (double)linnet_e8m0_half_to_f32((uint8_t)e) != ldexp(1, e - 128);
	test_ok(!bad, "e8m0: %zu of 256 scales wrong", bad);
}

static void check_types(void)
{
	static const struct {
		uint32_t type, elems, bytes;
	} want[] = {	/* of the published format */
		{ LINNET_TYPE_F32, 1, 4 }, { LINNET_TYPE_F16, 1, 2 }, { LINNET_TYPE_Q4_0, 32, 18 },
		{ LINNET_TYPE_Q4_1, 32, 20 }, { LINNET_TYPE_Q5_0, 32, 22 },
		{ LINNET_TYPE_Q5_1, 32, 24 }, { LINNET_TYPE_Q8_0, 32, 34 },
		{ LINNET_TYPE_Q2_K, 256, 84 }, { LINNET_TYPE_Q3_K, 256, 110 },
		{ LINNET_TYPE_Q4_K, 256, 144 }, { LINNET_TYPE_Q5_K, 256, 176 },
		{ LINNET_TYPE_Q6_K, 256, 210 }, { LINNET_TYPE_IQ4_NL, 32, 18 },
		{ LINNET_TYPE_IQ4_XS, 256, 136 }, { LINNET_TYPE_I32, 1, 4 },
		{ LINNET_TYPE_BF16, 1, 2 }, { LINNET_TYPE_MXFP4, 32, 17 },
	};
	size_t known = 0, bad = 0;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const struct linnet_type_info *t = linnet_type_info(want[i].type);

		bad += !t || t->block_elems != want[i].elems || t->block_bytes != want[i].bytes;
	}
	for (uint32_t t = 0; t < 1000; t++)
		known += !!linnet_type_info(t);
	test_ok(!bad && known == sizeof(want) / sizeof(want[0]), "types: sizes of blocks");
	test_ok(!linnet_type_info(UINT32_MAX) && !linnet_type_info(LINNET_TYPE_COUNT),
		"types: numbers that are none");
}

static void check_slice(const struct linnet_kernels *k, const char *name)
{
	char path[512];
	uint32_t head[7];
	const char *at;
	uint8_t *raw = NULL, *bf16, *f32;
	float *x = NULL;
	size_t bad = 0, bad16 = 0;
	FILE *f;

	snprintf(path, sizeof(path), "quant/%s", name);
	at = test_data(path);
	f = at ? fopen(at, "rb") : NULL;
	if (!f || fread(head, 4, 7, f) != 7) {
		test_ok(false, "%s: cannot be read", name);
		goto out;
	}
	if (memcmp(head, "AMNG", 4))	/* GPTQ and AWQ: no type of ours */
		goto out;
	if (head[2] >= LINNET_TYPE_COUNT || !k->dequantize[head[2]]) {
		test_ok(false, "%s: no decoder for type %u", name, head[2]);
		goto out;
	}
	raw = malloc((size_t)head[4] + head[5] + head[6]);
	x = malloc((size_t)head[3] * 4);
	if (!raw || !x || fread(raw, 1, (size_t)head[4] + head[5] + head[6], f) !=
			  (size_t)head[4] + head[5] + head[6] ||
	    head[4] != linnet_row_bytes(linnet_type_info(head[2]), head[3]) ||
	    head[5] != head[3] * 2 || head[6] != head[3] * 4) {
		test_ok(false, "%s: not as long as it says", name);
		goto out;
	}
	bf16 = raw + head[4];
	f32 = bf16 + head[5];
	k->dequantize[head[2]](x, raw, head[3]);
	for (size_t i = 0; i < head[3]; i++) {
		uint16_t b = linnet_f32_to_bf16(x[i]);

		bad += !!memcmp(&x[i], f32 + i * 4, 4);
		bad16 += !!memcmp(&b, bf16 + i * 2, 2);
	}
	test_ok(!bad && !bad16, "%s %s: %zu values differ, %zu as bfloat16", k->isa, name, bad,
		bad16);
out:
	free(raw);
	free(x);
	if (f)
		fclose(f);
}

static void check_slices(const struct linnet_kernels *k)
{
	const char *path = test_data("quant");
	struct dirent *e;
	DIR *d = path ? opendir(path) : NULL;

	if (!d) {
		test_skip("published slices", "no quant/ in LINNET_TEST_DATA");
		return;
	}
	while ((e = readdir(d)))
		if (strstr(e->d_name, ".bin"))
			check_slice(k, e->d_name);
	closedir(d);
}

/* The step d of a block of activations with this largest magnitude, by kernels.h. */
static double step_of(enum linnet_act act, double top)
{
	const double d = top / 127, steps = act == LINNET_ACT_Q32 ? 4 : 1;
	double p;

	if (act == LINNET_ACT_F32 || !top)
		return 0;
	p = exp2(floor(log2(d)));
	return act == LINNET_ACT_Q256 ? d : ceil(d / p * steps) / steps * p;
}

/*
 * y against sum w x in double: each x may be off by half a step d, and the float sums
 * by a few units of the sum of magnitudes.
 */
static void check_product(const struct linnet_kernels *k, uint32_t type)
{
	enum { ROWS = 5, COLS = 768, TOKENS = 3 };
	const struct linnet_type_info *t = linnet_type_info(type);
	size_t row_bytes = linnet_row_bytes(t, COLS);
	static uint8_t w[ROWS * COLS * 4];
	static float x[TOKENS][COLS], row[COLS], y[TOKENS][ROWS], bias[ROWS];
	struct linnet_act_buf act = { NULL, COLS, TOKENS };
	struct linnet_matmul mm = {
		.y = y[0], .ldy = ROWS, .w = w, .row_bytes = row_bytes, .n_rows = ROWS,
		.row1 = ROWS, .bias = bias, .act = &act,
	};
	size_t block = t->act == LINNET_ACT_Q256 ? 256 : 32, scratch;
	double worst = 0;
	uint32_t r = type + 1;

	for (size_t i = 0; i < sizeof(w); i++)
		w[i] = (uint8_t)((r = r * 1664525 + 1013904223) >> 24);
	for (size_t i = 0; i < ROWS * row_bytes; i += t->block_bytes) {
		/* scales and values with their exponents in the middle */
		if (type == LINNET_TYPE_F32)
			w[i + 3] = 0x3f ^ (w[i] & 0x80);
		else if (type == LINNET_TYPE_MXFP4)
			w[i] = (uint8_t)(w[i] % 8 + 120);
		else if (type == LINNET_TYPE_BF16)
			w[i + 1] = 0x3f ^ (w[i] & 0x80);
		else if (type == LINNET_TYPE_Q2_K)
			w[i + 81] = w[i + 83] = 0x2c;
		else if (type == LINNET_TYPE_Q3_K || type == LINNET_TYPE_Q6_K)
			w[i + t->block_bytes - 1] = 0x2c;
		else
			w[i + 1] = 0x2c;
		if (type == LINNET_TYPE_Q4_1 || type == LINNET_TYPE_Q5_1 ||
		    type == LINNET_TYPE_Q4_K || type == LINNET_TYPE_Q5_K)
			w[i + 3] = 0xac;
	}
	for (size_t i = 0; i < (size_t)TOKENS * COLS; i++)
		x[i / COLS][i % COLS] = (float)(int32_t)(r = r * 1664525 + 1013904223) * 0x1p-31f;
	for (size_t i = 0; i < ROWS; i++)
		bias[i] = (float)i;

	act.buf = aligned_alloc(64, (k->act_bytes(t->act, COLS, TOKENS) + 63) / 64 * 64);
	scratch = (k->matmul_scratch(type, COLS, TOKENS) + 127) / 64 * 64;
	mm.scratch = aligned_alloc(64, scratch);
	k->act_pack(t->act, &act, x[0], COLS, 0, TOKENS);
	k->matmul[type](&mm);
	for (size_t i = 0; i < ROWS; i++) {
		k->dequantize[type](row, w + i * row_bytes, COLS);
		for (size_t j = 0; j < TOKENS; j++) {
			double want = (double)bias[i], room = 1e-6, top = 0;

			for (size_t c = 0; c < COLS; c++) {
				if (c % block == 0)
					top = 0;
				for (size_t e = c; c % block == 0 && e < c + block; e++)
					top = fmax(top, fabs((double)x[j][e]));
				want += (double)row[c] * (double)x[j][c];
				room += fabs((double)row[c]) * (step_of(t->act, top) / 2 + 1e-6);
			}
			worst = fmax(worst, fabs((double)y[j][i] - want) / room);
			if (isnan(y[j][i]))
				worst = INFINITY;
		}
	}
	test_ok(worst <= 1, "%s %s: product off by %.3f of what is allowed", k->isa, t->name,
		worst);
	free(act.buf);
	free(mm.scratch);
}

int main(void)
{
	struct linnet_kernels k;

	test_ok(linnet_kernels_init(&k, "sse9") == -EINVAL, "a level that does not exist");
	check_f16();
	check_bf16();
	check_types();
	for (const char *const *level = linnet_kernels_levels(); *level; level++) {
		if (!test_ok(!linnet_kernels_init(&k, *level), "level %s", *level))
			continue;
		check_slices(&k);
		for (uint32_t type = 0; type < LINNET_TYPE_COUNT; type++)
			if (k.matmul[type])
				check_product(&k, type);
	}
	return test_end();
}
