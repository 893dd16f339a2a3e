/* SPDX-License-Identifier: MIT */
/*
 * The operations between the products. The reference is held to stated bounds against
 * double precision; every other level is held to the reference's bits over random
 * shapes, tails, alignments and extreme values, with every buffer between two pages
 * that must not be touched. `ops --bench [word]` times what has the word in its name.
 */
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "kernels/ref/math.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- chance ---- */

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

enum values { NORMAL, WIDE, SPECIAL, N_VALUES };

static const char *const values_name[N_VALUES] = { "normal", "wide", "special" };

/* NORMAL: as a model has them. WIDE: any finite bits. SPECIAL: normal, some replaced. */
static float rnd_value(enum values v)
{
	static const float special[] = {
		0, -0.0f, INFINITY, -INFINITY, NAN, 0x1p-149f, -0x1p-126f, 3.4e38f, -3.4e38f,
		1e-30f, 88.8f, -87.4f, 65520, 0x1p-25f, 0.625f, 127, 1,
	};
	float x = rnd_normal();

	if (v == WIDE)
		return ldexpf(x, (int)rnd_below(250) - 125);
	if (v == SPECIAL && !rnd_below(40))
		return special[rnd_below(sizeof(special) / sizeof(special[0]))];
	return x;
}

/* ---- memory between guard pages ---- */

struct guarded {
	uint8_t *map, *p;
	size_t map_bytes, bytes;
};

/* bytes that end at a page that cannot be touched, or (front) begin after one */
static struct guarded guarded_new(size_t bytes, size_t align, bool front)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
	struct guarded g = { .bytes = bytes, .map_bytes = inner + 2 * page };

	g.map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED ||
	    (inner && mprotect(g.map + page, inner, PROT_READ | PROT_WRITE))) {
		perror("mmap");
		exit(1);
	}
	memset(g.map + page, 0xa5, inner);
	g.p = g.map + page + (front ? 0 : (inner - bytes) / align * align);
	return g;
}

static void guarded_free(struct guarded *g)
{
	munmap(g->map, g->map_bytes);
}

/* ---- comparing ---- */

static bool same(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(a[i] != a[i] && b[i] != b[i])) {
			printf("# element %zu of %zu: %a, should be %a\n", i, n, (double)b[i],
			       (double)a[i]);
			return false;
		}
	return true;
}

static double ulp_of(double exact)
{
	float a = fabsf((float)exact);

	return a < 0x1p-126f ? 0x1p-149 : isinf(a) ? 0x1p104 : (double)(nextafterf(a, INFINITY) - a);
}

/* ---- row operations: dst[n] of up to two sources and a parameter ---- */

enum row_op { RMS_NORM, RMS_NORM_PLAIN, ADD, SILU, GELU, SOFTCAP, ROPE_NORM, ROPE_NEOX, AXPY,
	      N_ROW_OPS };

static const char *const row_name[N_ROW_OPS] = {
	"rms_norm", "rms_norm without weight", "add", "glu silu", "glu gelu-tanh", "softcap",
	"rope norm", "rope neox", "axpy",
};

/* r: rotated elements. AXPY adds to dst. */
static void row_run(const struct linnet_kernels *k, enum row_op op, float *dst, const float *a,
		    const float *b, float param, size_t r, size_t n)
{
	switch (op) {
	case RMS_NORM:
		k->rms_norm(dst, a, b, param, n);
		break;
	case RMS_NORM_PLAIN:
		k->rms_norm(dst, a, NULL, param, n);
		break;
	case ADD:
		k->add(dst, a, b, n);
		break;
	case SILU:
		k->glu[LINNET_GLU_SILU](dst, a, b, n);
		break;
	case GELU:
		k->glu[LINNET_GLU_GELU_TANH](dst, a, b, n);
		break;
	case SOFTCAP:
		k->softcap(dst, a, param, n);
		break;
	case ROPE_NORM:
		k->rope[LINNET_ROPE_NORM](dst, a, b, r, n);
		break;
	case ROPE_NEOX:
		k->rope[LINNET_ROPE_NEOX](dst, a, b, r, n);
		break;
	case AXPY:
		k->axpy(dst, param, a, n);
		break;
	default:
		break;
	}
}

static float row_param(enum row_op op)
{
	return op == SOFTCAP ? 30 + rnd_normal() : op == AXPY ? rnd_normal() : 1e-5f;
}

/* One case of every kind of buffer placement; in place too, where dst may be a. */
static bool row_case(const struct linnet_kernels *ref, const struct linnet_kernels *k,
		     enum row_op op, enum values v, size_t n)
{
	bool front = rnd() & 1, in_place = rnd() & 1;
	struct guarded a = guarded_new(4 * n, 4, front), b = guarded_new(4 * n, 4, front);
	struct guarded d = guarded_new(4 * n, 4, front), want = guarded_new(4 * n, 4, front);
	float *fa = (float *)a.p, *fb = (float *)b.p, *fd = (float *)d.p, *fw = (float *)want.p;
	float param = row_param(op);
	size_t r = rnd_below((uint32_t)n / 2 + 1) * 2;
	bool ok;

	for (size_t i = 0; i < n; i++) {
		fa[i] = rnd_value(v);
		fb[i] = rnd_value(v);
		fd[i] = fw[i] = rnd_value(v);
	}
	row_run(ref, op, fw, fa, fb, param, r, n);
	if (in_place && op != AXPY) {
		row_run(k, op, fa, fa, fb, param, r, n);
		memcpy(fd, fa, 4 * n);
	} else {
		row_run(k, op, fd, fa, fb, param, r, n);
	}
	ok = same(fw, fd, n);
	if (!ok)
		printf("# %s n %zu r %zu %s%s\n", row_name[op], n, r, values_name[v],
		       in_place ? " in place" : "");
	guarded_free(&a);
	guarded_free(&b);
	guarded_free(&d);
	guarded_free(&want);
	return ok;
}

static void test_rows(const struct linnet_kernels *ref, const struct linnet_kernels *k)
{
	for (enum row_op op = 0; op < N_ROW_OPS; op++) {
		bool ok = true;

		for (int v = 0; v < N_VALUES && ok; v++)
			for (size_t n = 1; n <= 80 && ok; n++)
				ok = row_case(ref, k, op, v, n);
		for (int i = 0; i < 60 && ok; i++)
			ok = row_case(ref, k, op, i % N_VALUES, 1 + rnd_below(5000));
		test_ok(ok, "%s: %s has the reference's bits", k->isa, row_name[op]);
	}
}

/* gelu and silu over the whole range of the gate, for the selects at its ends */
static void test_sweep(const struct linnet_kernels *ref, const struct linnet_kernels *k)
{
	static float x[4096], one[4096], want[4096], got[4096];
	bool ok = true;

	for (int i = 0; i < 4096; i++)
		one[i] = 1;
	for (uint32_t base = 0; base < 0x1000 && ok; base += 3) {
		for (uint32_t i = 0; i < 4096; i++)
			x[i] = linnet_f32_from_bits(base << 20 | i << 8 | (base & 0xff));
		for (enum row_op op = SILU; op <= SOFTCAP && ok; op++) {
			row_run(ref, op, want, x, one, 2, 0, 4096);
			row_run(k, op, got, x, one, 2, 0, 4096);
			ok = same(want, got, 4096);
		}
	}
	test_ok(ok, "%s: exp and tanh have the reference's bits over all magnitudes", k->isa);
}

/* ---- the reference against double precision ---- */

static void test_math(void)
{
	double worst_exp = 0, worst_tanh = 0;
	bool ends = true;

	for (uint64_t u = 0; u < 1ull << 32; u += 509) {
		float x = linnet_f32_from_bits((uint32_t)u), y;
		long double exact;

		if (x != x)
			continue;
		exact = tanhl(x);
		worst_tanh = fmax(worst_tanh, (double)fabsl(linnet_tanhf(x) - exact) /
					      ulp_of((double)exact));
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
	test_ok(worst_tanh <= 2, "tanh: %.3f ulp at most, bound 2", worst_tanh);
	test_ok(ends, "exp: 0 below 2^-126, infinite above the largest float");
	test_ok(linnet_expf(-INFINITY) == 0 && linnet_expf(INFINITY) == INFINITY &&
		isnan(linnet_expf(NAN)) && linnet_expf(-0.0f) == 1 &&
		linnet_expf(LINNET_EXP_MIN) >= 0x1p-126f &&
		isfinite(linnet_expf(LINNET_EXP_MAX)), "exp: the ends of its range");
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
			row_run(ref, op, d, a, b, param, r, N);
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
					u = (double)(0.5L * x * (1 + tanhl(sqrtl(2 / 3.14159265358979323846L) *
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

static void test_kv_put(const struct linnet_kernels *ref, const struct linnet_kernels *k,
			uint32_t type)
{
	bool ok = true;

	for (int i = 0; i < 200 && ok; i++) {
		size_t d = type == LINNET_TYPE_Q8_0 ? 32 * (1 + rnd_below(8)) : 1 + rnd_below(260);
		size_t bytes = LINNET_KV_PAGE * kv_row_bytes(type, d);
		struct guarded want = guarded_new(bytes, 2, false), got = guarded_new(bytes, 2, false);
		struct guarded src = guarded_new(4 * d, 4, rnd() & 1);
		enum linnet_kv_role role = i & 1;

		for (int j = 0; j < 20; j++) {
			size_t p = rnd_below(LINNET_KV_PAGE);
			enum values v = rnd_below(N_VALUES);

			for (size_t x = 0; x < d; x++)
				((float *)src.p)[x] = rnd_value(v);
			ref->kv_put[role](type, want.p, (float *)src.p, d, p);
			k->kv_put[role](type, got.p, (float *)src.p, d, p);
		}
		ok = !memcmp(want.p, got.p, bytes);
		if (!ok)
			printf("# d %zu role %d\n", d, role);
		guarded_free(&want);
		guarded_free(&got);
		guarded_free(&src);
	}
	test_ok(ok, "%s: kv_put %s has the reference's bytes", k->isa, linnet_type_info(type)->name);
}

struct attn {
	uint32_t type, n, dk, dv;
	float scale, softcap;
	size_t ld_out;
	uint16_t lo[256], hi[256];
	struct guarded k, v, src;
	const float *q[256];
};

static void fill_page(const struct linnet_kernels *ref, struct attn *a, enum values v,
		      bool holes)
{
	size_t d_max = a->dk > a->dv ? a->dk : a->dv;
	uint16_t lo = LINNET_KV_PAGE, hi = 0;
	float *row = malloc(4 * d_max);

	for (uint32_t i = 0; i < a->n; i++)
		if (a->lo[i] < a->hi[i]) {
			lo = a->lo[i] < lo ? a->lo[i] : lo;
			hi = a->hi[i] > hi ? a->hi[i] : hi;
		}
	/* what nobody sees may hold anything: NaN in both types */
	memset(a->k.p, holes ? 0xff : 0, a->k.bytes);
	memset(a->v.p, holes ? 0xff : 0, a->v.bytes);
	for (size_t p = lo; p < hi; p++) {
		for (size_t i = 0; i < a->dk; i++)
			row[i] = rnd_value(v);
		ref->kv_put[LINNET_KV_K](a->type, a->k.p, row, a->dk, p);
		for (size_t i = 0; i < a->dv; i++)
			row[i] = rnd_value(v);
		ref->kv_put[LINNET_KV_V](a->type, a->v.p, row, a->dv, p);
	}
	for (size_t i = 0; i < (size_t)a->n * a->dk; i++)
		((float *)a->src.p)[i] = rnd_value(v);
	for (uint32_t i = 0; i < a->n; i++)
		a->q[i] = (float *)a->src.p + (size_t)i * a->dk;
	free(row);
}

static void attn_new(struct attn *a)
{
	a->k = guarded_new(LINNET_KV_PAGE * kv_row_bytes(a->type, a->dk), 2, false);
	a->v = guarded_new(LINNET_KV_PAGE * kv_row_bytes(a->type, a->dv), 2, false);
	a->src = guarded_new(4ull * a->n * a->dk, 4, false);
}

static void attn_free(struct attn *a)
{
	guarded_free(&a->k);
	guarded_free(&a->v);
	guarded_free(&a->src);
}

/* A page through the kernels of one level; state[n] then out[n][ld_out]. */
static void attn_run(const struct linnet_kernels *k, const struct attn *a,
		     struct linnet_attn_state *state, float *out)
{
	struct guarded buf = guarded_new(k->attn.query_bytes(a->type, a->n, a->dk), 64, false);
	struct guarded scratch = guarded_new(k->attn.page_scratch(a->type, a->n, a->dk, a->dv),
					     64, false);
	struct linnet_attn_query q = {
		.type = a->type, .n = a->n, .dk = a->dk, .dv = a->dv,
		.scale = a->scale, .softcap = a->softcap, .buf = buf.p,
	};
	struct linnet_attn_page p = {
		.k = a->k.p, .v = a->v.p, .lo = a->lo, .hi = a->hi, .state = state, .out = out,
		.ld_out = a->ld_out, .scratch = scratch.p, .next_k = rnd() & 1 ? a->k.p : NULL,
	};

	k->attn.prep(&q, a->q);
	k->attn.page(&q, &p);
	guarded_free(&buf);
	guarded_free(&scratch);
}

static bool attn_case(const struct linnet_kernels *ref, const struct linnet_kernels *k,
		      uint32_t type, enum values v)
{
	static const uint32_t dims[] = { 8, 64, 80, 96, 128, 256 };
	struct attn a = { .type = type, .n = 1 + rnd_below(rnd() & 3 ? 9 : 70) };
	uint32_t base = rnd_below(LINNET_KV_PAGE + 40), group = 1 + rnd_below(8);
	uint32_t window = rnd() & 1 ? rnd_below(200) : LINNET_KV_PAGE + 70;
	struct guarded want, got, want_state, got_state;
	bool ok, ragged = !rnd_below(4);

	a.dk = type == LINNET_TYPE_Q8_0 ? 32 * (1 + rnd_below(8)) :
	       rnd() & 1 ? dims[rnd_below(6)] : 1 + rnd_below(150);
	a.dv = rnd() & 1 ? a.dk : type == LINNET_TYPE_Q8_0 ? 32 * (1 + rnd_below(8)) :
	       1 + rnd_below(150);
	a.ld_out = a.dv + rnd_below(20);
	a.scale = 1 / sqrtf((float)a.dk) * (1 + rnd_below(8));
	a.softcap = rnd() & 1 ? 30 : 0;
	for (uint32_t i = 0; i < a.n; i++) {
		uint32_t pos = base + i / group;

		a.lo[i] = pos > window ? (uint16_t)(pos - window) : 0;
		a.hi[i] = pos < LINNET_KV_PAGE ? (uint16_t)(pos + 1) : LINNET_KV_PAGE;
		if (ragged) {
			a.lo[i] = (uint16_t)rnd_below(LINNET_KV_PAGE + 1);
			a.hi[i] = (uint16_t)rnd_below(LINNET_KV_PAGE + 1);
		}
		if (a.lo[i] > a.hi[i])
			a.lo[i] = a.hi[i];
	}
	attn_new(&a);
	fill_page(ref, &a, v, true);
	want = guarded_new(4 * ((a.n - 1) * a.ld_out + a.dv), 4, false);
	got = guarded_new(4 * ((a.n - 1) * a.ld_out + a.dv), 4, false);
	want_state = guarded_new(a.n * sizeof(struct linnet_attn_state), 4, false);
	got_state = guarded_new(a.n * sizeof(struct linnet_attn_state), 4, false);
	attn_run(ref, &a, (void *)want_state.p, (float *)want.p);
	attn_run(k, &a, (void *)got_state.p, (float *)got.p);
	ok = same((float *)want_state.p, (float *)got_state.p, 2 * a.n) &&
	     same((float *)want.p, (float *)got.p, want.bytes / 4);
	if (!ok)
		printf("# attention %s n %u dk %u dv %u group %u base %u window %u cap %g %s%s\n",
		       linnet_type_info(type)->name, a.n, a.dk, a.dv, group, base, window,
		       (double)a.softcap, values_name[v], ragged ? " ragged" : "");
	guarded_free(&want);
	guarded_free(&got);
	guarded_free(&want_state);
	guarded_free(&got_state);
	attn_free(&a);
	return ok;
}

static void test_attention(const struct linnet_kernels *ref, const struct linnet_kernels *k,
			   uint32_t type)
{
	for (int v = 0; v < N_VALUES; v++) {
		bool ok = true;

		for (int i = 0; i < (v == NORMAL ? 250 : 60) && ok; i++)
			ok = attn_case(ref, k, type, v);
		test_ok(ok, "%s: attention %s, %s values: the reference's bits", k->isa,
			linnet_type_info(type)->name, values_name[v]);
	}
}

static void test_combine(const struct linnet_kernels *ref, const struct linnet_kernels *k)
{
	enum { N = 300 };
	float want[N], got[N], part[N];
	bool ok = true;

	for (int i = 0; i < 400 && ok; i++) {
		size_t dv = 1 + rnd_below(N);
		struct linnet_attn_state w = { -INFINITY, 0 }, g = w;

		memset(want, 0, sizeof(want));
		memset(got, 0, sizeof(got));
		for (int j = 0; j < 6 && ok; j++) {
			struct linnet_attn_state s = { 40 * rnd_normal(), 1 + fabsf(rnd_normal()) };

			for (size_t d = 0; d < dv; d++)
				part[d] = rnd_value(i % N_VALUES);
			if (!rnd_below(4))
				s = (struct linnet_attn_state) { -INFINITY, 0 };
			if (i % N_VALUES == SPECIAL && !rnd_below(8))
				s.sum = NAN;
			ref->attn.combine(&w, want, &s, part, dv);
			k->attn.combine(&g, got, &s, part, dv);
			ok = same(&w.max, &g.max, 2) && same(want, got, dv);
		}
		ref->attn.finish(part, &w, want, dv);
		k->attn.finish(got, &g, got, dv);
		ok = ok && same(part, got, dv);
	}
	test_ok(ok, "%s: combine and finish have the reference's bits", k->isa);
}

static void test_combine_rules(const struct linnet_kernels *ref)
{
	struct linnet_attn_state acc = { -INFINITY, 0 }, none = acc, part = { 1.25f, 3 };
	float out[2] = { 0 }, zero[2] = { 0 }, v[2] = { 0x1p-140f, -7 };

	ref->attn.combine(&acc, out, &none, zero, 2);
	test_ok(acc.sum == 0 && acc.max == -INFINITY && out[0] == 0, "nothing and nothing");
	ref->attn.combine(&acc, out, &part, v, 2);
	test_ok(acc.sum == 3 && acc.max == 1.25f && !memcmp(out, v, sizeof(v)),
		"the first partial is copied");
	ref->attn.combine(&acc, out, &none, zero, 2);
	test_ok(acc.sum == 3 && acc.max == 1.25f && !memcmp(out, v, sizeof(v)),
		"a partial that saw nothing changes nothing");
	ref->attn.finish(out, &none, zero, 2);
	test_ok(out[0] == 0 && out[1] == 0, "a query that saw nothing ends as 0");
}

/* The value that a cache holds, read by its documented layout. */
static double kv_value(const struct attn *a, enum linnet_kv_role role, size_t p, size_t i)
{
	const uint8_t *b = role ? a->v.p : a->k.p;
	size_t d = role ? a->dv : a->dk, at;
	uint16_t h;

	if (a->type == LINNET_TYPE_F16) {
		at = role ? p * d + i : p / 16 * 16 * d + i * 16 + p % 16;
		memcpy(&h, b + 2 * at, 2);
		return (double)linnet_f16_to_f32(h);
	}
	b += p / 16 * (16 * d + d);
	memcpy(&h, b + 2 * (i / 32 * 16 + p % 16), 2);
	at = role ? p % 16 * d + i : (i / 4 * 16 + p % 16) * 4 + i % 4;
	return (double)linnet_f16_to_f32(h) * ((const int8_t *)b + d)[at];
}

/*
 * Three pages, combined, against a softmax in double over the values that the cache
 * holds. An error of the scores acts on the probabilities, so the bound has the
 * scores' own: fused sums of dk terms, and the two-digit query for Q8_0.
 */
static void test_attention_exact(const struct linnet_kernels *ref, uint32_t type)
{
	enum { PAGES = 3, N = 3 };
	double worst = 0, bound = type == LINNET_TYPE_F16 ? 3e-6 : 6e-5;

	for (int round = 0; round < 24; round++) {
		struct attn a[PAGES];
		struct linnet_attn_state acc[N], part[N];
		uint32_t d = type == LINNET_TYPE_F16 && round & 1 ? 20 : 64 << round % 3;
		float *out = calloc(N * d, 4), *part_out = calloc(N * d, 4);
		float *query = malloc(4ull * N * d);
		double *e = malloc(PAGES * LINNET_KV_PAGE * sizeof(*e));

		for (size_t i = 0; i < N * d; i++)
			query[i] = rnd_normal();
		for (int i = 0; i < N; i++)
			acc[i] = (struct linnet_attn_state) { -INFINITY, 0 };
		for (int g = 0; g < PAGES; g++) {
			a[g] = (struct attn) {
				.type = type, .n = N, .dk = d, .dv = d, .ld_out = d,
				.scale = 2 / sqrtf((float)d), .softcap = round & 2 ? 20 : 0,
			};
			for (int i = 0; i < N; i++) {
				a[g].lo[i] = !g && i == 1 ? LINNET_KV_PAGE : 0;
				a[g].hi[i] = g == 2 ? 100 + (uint16_t)i : LINNET_KV_PAGE;
			}
			attn_new(&a[g]);
			fill_page(ref, &a[g], NORMAL, true);
			memcpy(a[g].src.p, query, 4ull * N * d);
			attn_run(ref, &a[g], part, part_out);
			for (int i = 0; i < N; i++)
				ref->attn.combine(&acc[i], out + i * d, &part[i],
						  part_out + i * d, d);
		}
		for (int i = 0; i < N; i++) {
			double sum = 0, max = -INFINITY;

			ref->attn.finish(out + i * d, &acc[i], out + i * d, d);
			for (int p = 0; p < PAGES * LINNET_KV_PAGE; p++) {
				const struct attn *b = &a[p / LINNET_KV_PAGE];
				int at = p % LINNET_KV_PAGE;
				double dot = 0;

				e[p] = -INFINITY;
				if (at < b->lo[i] || at >= b->hi[i])
					continue;
				for (uint32_t x = 0; x < d; x++)
					dot += (double)query[i * d + x] *
					       kv_value(b, LINNET_KV_K, at, x);
				dot *= (double)b->scale;
				if (b->softcap)
					dot = (double)b->softcap * tanh(dot / (double)b->softcap);
				e[p] = dot;
				max = fmax(max, dot);
			}
			for (int p = 0; p < PAGES * LINNET_KV_PAGE; p++)
				sum += e[p] = exp(e[p] - max);
			for (uint32_t x = 0; x < d; x++) {
				double want = 0, size = 0;

				for (int p = 0; p < PAGES * LINNET_KV_PAGE; p++) {
					double v;

					if (!e[p])
						continue;
					v = e[p] / sum * kv_value(&a[p / LINNET_KV_PAGE],
								  LINNET_KV_V,
								  p % LINNET_KV_PAGE, x);
					want += v;
					size += fabs(v);
				}
				worst = fmax(worst, fabs(out[i * d + x] - want) / size);
			}
		}
		for (int g = 0; g < PAGES; g++)
			attn_free(&a[g]);
		free(out);
		free(part_out);
		free(query);
		free(e);
	}
	test_ok(worst <= bound, "reference: attention %s: %.2g of the sum of magnitudes, bound %.2g",
		linnet_type_info(type)->name, worst, bound);
}

/* What writing to a cache loses. */
static void test_kv_exact(const struct linnet_kernels *ref, uint32_t type)
{
	struct attn a = { .type = type, .n = 1, .dk = 96, .dv = 96 };
	double worst = 0;

	attn_new(&a);
	for (int role = 0; role < 2; role++)
		for (size_t p = 0; p < LINNET_KV_PAGE; p++) {
			float src[96];

			for (int i = 0; i < 96; i++)
				src[i] = rnd_normal();
			ref->kv_put[role](type, role ? a.v.p : a.k.p, src, 96, p);
			for (int i = 0; i < 96; i++) {
				double max = 0, size = fmax(fabs(src[i]), 0x1p-14);

				for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
					max = fmax(max, fabs(src[j]));
				if (type == LINNET_TYPE_Q8_0)
					size = max / 127;
				worst = fmax(worst, fabs(kv_value(&a, role, p, i) - src[i]) / size);
			}
		}
	if (type == LINNET_TYPE_F16)
		test_ok(worst <= 0x1p-11, "kv_put F16: %.3g relative, bound 2^-11", worst);
	else	/* half a step, and the scale's own rounding */
		test_ok(worst <= 0.5625, "kv_put Q8_0: %.3g steps, bound 0.5625", worst);
	attn_free(&a);
}

/* ---- timing ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench_rows(const struct linnet_kernels *k, const char *word)
{
	enum { N = 4096 };
	static float a[N], b[N], d[N];

	for (int i = 0; i < N; i++) {
		a[i] = rnd_normal() * 4;
		b[i] = rnd_normal();
	}
	for (enum row_op op = 0; op < N_ROW_OPS; op++) {
		double best = 1;

		if (word && !strstr(row_name[op], word))
			continue;
		for (int i = 0; i < 30; i++) {
			double t = now();

			for (int j = 0; j < 20; j++)
				row_run(k, op, d, a, b, 0.5f, op == ROPE_NEOX ? N : N, N);
			t = (now() - t) / 20;
			best = t < best ? t : best;
		}
		printf("%-8s %-28s %8.3f ns/element\n", k->isa, row_name[op], best / N * 1e9);
	}
}

static uint64_t read_all(const uint8_t *p, size_t n)
{
	uint64_t s[8] = { 0 };

	for (size_t i = 0; i + 64 <= n; i += 64)
		for (int j = 0; j < 8; j++) {
			uint64_t x;

			memcpy(&x, p + i + 8 * j, 8);
			s[j] += x;
		}
	return s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
}

/* Decode: pages_n pages of n queries, K and V of each page, from memory. */
static void bench_decode(const struct linnet_kernels *k, uint32_t type, uint32_t n, uint32_t d)
{
	size_t block = LINNET_KV_PAGE * kv_row_bytes(type, d), total = 96ull << 20;
	size_t pages = total / (2 * block);
	uint8_t *kv = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *scratch = aligned_alloc(64, (k->attn.page_scratch(type, n, d, d) + 63) / 64 * 64);
	uint8_t *buf = aligned_alloc(64, (k->attn.query_bytes(type, n, d) + 63) / 64 * 64);
	float *out = malloc(4ull * n * d), *acc_out = calloc(n, 4ull * d), *src = malloc(4ull * n * d);
	struct linnet_attn_state part[64], acc[64];
	const float *rows[64];
	uint16_t lo[64] = { 0 }, hi[64];
	double best = 1e9, best_read = 1e9;
	struct linnet_attn_query q = { type, n, d, d, 1 / sqrtf((float)d), 0, buf };
	volatile uint64_t sink;

	madvise(kv, total, MADV_HUGEPAGE);
	for (size_t i = 0; i < n * d; i++)
		src[i] = rnd_normal();
	for (size_t p = 0; p < pages * 2 * LINNET_KV_PAGE; p++)
		k->kv_put[p / LINNET_KV_PAGE % 2](type, kv + p / LINNET_KV_PAGE * block,
						  src, d, p % LINNET_KV_PAGE);
	for (uint32_t i = 0; i < n; i++) {
		rows[i] = src + (size_t)i * d;
		hi[i] = LINNET_KV_PAGE;
		acc[i] = (struct linnet_attn_state) { -INFINITY, 0 };
	}
	for (int r = 0; r < 15; r++) {
		double t = now();

		k->attn.prep(&q, rows);
		for (size_t p = 0; p < pages; p++) {
			struct linnet_attn_page page = {
				.k = kv + 2 * p * block, .v = kv + (2 * p + 1) * block,
				.next_k = p + 1 < pages ? kv + 2 * (p + 1) * block : NULL,
				.lo = lo, .hi = hi, .state = part, .out = out, .ld_out = d,
				.scratch = scratch,
			};

			k->attn.page(&q, &page);
			for (uint32_t i = 0; i < n; i++)
				k->attn.combine(&acc[i], acc_out + i * d, &part[i], out + i * d, d);
		}
		t = now() - t;
		best = t < best ? t : best;
		t = now();
		sink = read_all(kv, pages * 2 * block);
		(void)sink;
		t = now() - t;
		best_read = t < best_read ? t : best_read;
	}
	printf("%-8s attention decode %-4s n %2u d %3u %7.2f GB/s, %3.0f %% of a read\n", k->isa,
	       linnet_type_info(type)->name, n, d, (double)(pages * 2 * block) / best * 1e-9,
	       100 * best_read / best);
	munmap(kv, total);
	free(scratch);
	free(buf);
	free(out);
	free(acc_out);
	free(src);
}

/* n queries that see the whole page, page in cache: few as at decode, many as at prefill. */
static void bench_cache(const struct linnet_kernels *k, uint32_t type, uint32_t n, uint32_t d)
{
	struct attn a = { .type = type, .n = n, .dk = d, .dv = d, .scale = 0.1f, .ld_out = d };
	struct linnet_attn_state state[256];
	float *out = malloc(4ull * n * d);
	uint8_t *scratch = aligned_alloc(64, (k->attn.page_scratch(type, n, d, d) + 63) / 64 * 64);
	uint8_t *buf = aligned_alloc(64, (k->attn.query_bytes(type, n, d) + 63) / 64 * 64);
	struct linnet_attn_query q = { type, n, d, d, 0.1f, 0, buf };
	struct linnet_attn_page p = {
		.lo = a.lo, .hi = a.hi, .state = state, .out = out, .ld_out = d, .scratch = scratch,
	};
	double best = 1e9;

	for (uint32_t i = 0; i < n; i++)
		a.hi[i] = LINNET_KV_PAGE;
	attn_new(&a);
	fill_page(k, &a, NORMAL, false);
	p.k = a.k.p;
	p.v = a.v.p;
	k->attn.prep(&q, a.q);
	for (int r = 0; r < 40; r++) {
		double t = now();

		k->attn.page(&q, &p);
		t = now() - t;
		best = t < best ? t : best;
	}
	printf("%-8s attention in cache %-4s n %3u d %3u %7.1f GFLOP/s\n", k->isa,
	       linnet_type_info(type)->name, n, d,
	       4.0 * n * d * LINNET_KV_PAGE / best * 1e-9);
	attn_free(&a);
	free(out);
	free(scratch);
	free(buf);
}

static int bench(const char *word)
{
	static const uint32_t types[] = { LINNET_TYPE_F16, LINNET_TYPE_Q8_0 };

	for (const char *const *l = linnet_kernels_levels(); *l; l++) {
		struct linnet_kernels k;

		if (linnet_kernels_init(&k, *l))
			return 1;
		bench_rows(&k, word);
		if (!strcmp(*l, "ref"))
			continue;
		for (int i = 0; i < 2; i++) {
			if (!word || strstr("attention decode", word))
				for (uint32_t n = 1; n <= 8; n *= 2)
					for (uint32_t d = 64; d <= 128; d *= 2)
						bench_decode(&k, types[i], n, d);
			if (!word || strstr("attention in cache", word))
				for (uint32_t n = 1; n <= 64; n *= 2)
					for (uint32_t d = 64; d <= 128; d *= 2)
						bench_cache(&k, types[i], n, d);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct linnet_kernels ref, k;

	if (argc > 1 && !strcmp(argv[1], "--bench"))
		return bench(argc > 2 ? argv[2] : NULL);
	if (linnet_kernels_init(&ref, "ref")) {
		test_ok(false, "no reference");
		return test_end();
	}
	test_math();
	test_rows_exact(&ref);
	test_combine_rules(&ref);
	test_kv_exact(&ref, LINNET_TYPE_F16);
	test_kv_exact(&ref, LINNET_TYPE_Q8_0);
	test_attention_exact(&ref, LINNET_TYPE_F16);
	test_attention_exact(&ref, LINNET_TYPE_Q8_0);
	for (const char *const *l = linnet_kernels_levels(); *l; l++) {
		if (linnet_kernels_init(&k, *l)) {
			test_ok(false, "level %s", *l);
			continue;
		}
		test_rows(&ref, &k);
		test_sweep(&ref, &k);
		test_combine(&ref, &k);
		test_kv_put(&ref, &k, LINNET_TYPE_F16);
		test_kv_put(&ref, &k, LINNET_TYPE_Q8_0);
		test_attention(&ref, &k, LINNET_TYPE_F16);
		test_attention(&ref, &k, LINNET_TYPE_Q8_0);
	}
	return test_end();
}
