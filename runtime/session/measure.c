// SPDX-License-Identifier: MIT
/*
 * Keeps linnet_kernels_measure(): one operation as a stream, executed by the host engine's
 * threads, in turn with a plain read of the same weights or keys and values, and with
 * products of registers, so that a machine whose speed drifts slows all. And
 * linnet_machine_measure(), the latter two alone.
 */
#include "kernels/exec.h"
#include "runtime/engine/pool.h"
#include "runtime/memory/region.h"
#include "runtime/model/builder.h"
#include "runtime/util/error.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define COLS		4096u
#define WEIGHT_BYTES	((size_t)96 << 20)
#define PROMPT		512u
/* Heads of queries, of keys and values, and their dimensions */
#define HEADS		32u
#define KV_HEADS	8u
#define HEAD		(COLS / HEADS)
/* A prompt's positions end here */
#define DEPTH		4096u
#define INT8_ROUNDS	100000
/* Places where a plain read's threads begin, tried in turn; odd, as pages and banks are not */
#define SKEWS		8
#define SKEW_BYTES	((size_t)271 << 10)

enum { SLOT_X, SLOT_Y, SLOT_W, SLOT_TABLE, N_SLOTS };

/* Positions and sequences of a prompt's tokens, then pages of F16 or less */
#define TABLE_INTS	(2 * PROMPT + WEIGHT_BYTES / (KV_HEADS * LINNET_KV_PAGE * HEAD))

struct measure {
	struct linnet_kernels k;
	struct linnet_pool *pool;
	unsigned n_threads;
	struct linnet_region *w, *x, *y, *table, *scratch;
	unsigned tries;
};

/* What is measured. */
struct task {
	struct linnet_stream *s;
	size_t bytes;		/* of weights, or keys and values */
	double ops;		/* multiplications and additions */
	bool int8;		/* products of integers alone bound it */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ------------------------------------------- what the machine can do by itself */

struct limit {
	const struct linnet_limits *limits;
	const char *p;		/* to be read, or NULL: products */
	size_t bytes;		/* for each thread */
	_Atomic unsigned ready;
	size_t skew;		/* between the places where threads begin */
	_Atomic int go;
	_Atomic uint64_t work;	/* bytes or operations */
};

struct limit_thread {
	struct limit *l;
	unsigned index;
};

static void limit_run(struct limit *l, unsigned i)
{
	if (l->p) {
		/* Threads at the same place of their pages meet at the same bank of memory all
		 * the time: each begins elsewhere and goes round. */
		const size_t from = i * l->skew % l->bytes;
		const char *p = l->p + i * l->bytes;
		uint64_t sum = l->limits->read(p + from, l->bytes - from) +
			       l->limits->read(p, from);

		__asm__ volatile("" : : "r"(sum));
		atomic_fetch_add(&l->work, l->bytes);
	} else {
		atomic_fetch_add(&l->work, l->limits->int8(INT8_ROUNDS));
	}
}

static void *limit_main(void *arg)
{
	struct limit_thread *t = arg;

	atomic_fetch_add(&t->l->ready, 1);
	while (!atomic_load(&t->l->go))
		;
	limit_run(t->l, t->index);
	return NULL;
}

/* Bytes or operations a second of all threads; 0: a thread could not be started. */
static double limit_rate(struct measure *m, const char *p, size_t bytes)
{
	struct limit l = { .limits = &m->k.limits, .p = p, .bytes = bytes / m->n_threads,
			   .skew = m->tries++ % SKEWS * SKEW_BYTES };
	struct limit_thread *t = calloc(m->n_threads, sizeof(*t));
	pthread_t *id = calloc(m->n_threads, sizeof(*id));
	double start, rate = 0;
	unsigned n = 1;

	if (!t || !id)
		goto out;
	for (; n < m->n_threads; n++) {
		t[n] = (struct limit_thread){ &l, n };
		if (pthread_create(&id[n], NULL, limit_main, &t[n]))
			break;
	}
	while (atomic_load(&l.ready) < n - 1)
		;
	start = now();
	atomic_store(&l.go, 1);
	limit_run(&l, 0);
	for (unsigned i = 1; i < n; i++)
		pthread_join(id[i], NULL);
	if (n == m->n_threads)
		rate = (double)atomic_load(&l.work) / (now() - start);
out:
	free(t);
	free(id);
	return rate;
}

/* ------------------------------------------------------------- one operation */

static int finish(struct task *t, struct linnet_builder *b)
{
	size_t bytes;
	void *data = linnet_builder_finish(b, &bytes);
	int ret = data ? linnet_stream_parse(&t->s, data, bytes, NULL) : -ENOMEM;

	free(data);
	return ret;
}

static void put(struct linnet_builder *b, uint32_t slot, uint64_t offset, uint32_t type,
		uint32_t n_dims, const uint32_t *ne)
{
	struct linnet_operand o = linnet_operand_dense(slot, offset, type, n_dims, ne);

	linnet_builder_operand(b, &o);
}

/* The product of a matrix with some tokens. */
static int product(struct task *t, uint32_t type, uint32_t n_tokens,
		   struct linnet_kernels_row *row)
{
	const struct linnet_type_info *info = linnet_type_info(type);
	const size_t row_bytes = linnet_row_bytes(info, COLS);
	/* a prompt's pass is bound by products: a smaller matrix says the same sooner */
	const size_t want = n_tokens < PROMPT ? WEIGHT_BYTES : WEIGHT_BYTES / 16;
	const uint32_t n_rows = (uint32_t)(want / row_bytes / 64 * 64);
	const uint32_t x[4] = { COLS, n_tokens, 1, 1 }, y[4] = { n_rows, n_tokens, 1, 1 };
	const uint32_t w[4] = { COLS, n_rows, 1, 1 };
	struct linnet_builder b = { 0 };

	row->op = "matmul";
	row->n_rows = n_rows;
	row->n_cols = COLS;
	t->bytes = n_rows * row_bytes;
	t->ops = 2.0 * n_rows * COLS * n_tokens;
	t->int8 = info->act != LINNET_ACT_F32;
	linnet_builder_start(&b, NULL, 0, N_SLOTS);
	linnet_builder_op(&b, LINNET_OP_MATMUL);
	linnet_builder_u32(&b, 1);
	put(&b, SLOT_X, 0, LINNET_TYPE_F32, 2, x);
	put(&b, SLOT_Y, 0, LINNET_TYPE_F32, 2, y);
	put(&b, SLOT_W, 0, type, 2, w);
	linnet_builder_none(&b);
	return finish(t, &b);
}

/*
 * Attention of some tokens, the last ones of a sequence, over keys and values of a type.
 * One token's leave the caches.
 */
static int attention(struct measure *m, struct task *t, uint32_t type, uint32_t n_tokens,
		     struct linnet_kernels_row *row)
{
	const size_t head_bytes = linnet_row_bytes(linnet_type_info(type), HEAD) * LINNET_KV_PAGE;
	const size_t page_bytes = 2 * KV_HEADS * head_bytes;
	const uint32_t n_pages = (uint32_t)(n_tokens == PROMPT ? DEPTH / LINNET_KV_PAGE :
						WEIGHT_BYTES / page_bytes);
	const uint32_t n_pos = n_pages * LINNET_KV_PAGE;
	const uint32_t x[4] = { HEAD, HEADS, n_tokens, 1 };
	const uint32_t kv[4] = { HEAD, LINNET_KV_PAGE, KV_HEADS, n_pages };
	const uint32_t pages[4] = { n_pages, 1, 1, 1 };
	int32_t *pos = (int32_t *)m->table->addr, *page = pos + 2 * PROMPT;
	struct linnet_builder b = { 0 };

	row->op = "attention";
	row->n_rows = n_pos;
	row->n_cols = HEAD;
	t->bytes = n_pages * page_bytes;
	t->int8 = type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
	for (uint32_t i = 0; i < n_tokens; i++) {
		pos[i] = (int32_t)(n_pos - n_tokens + i);
		pos[PROMPT + i] = 0;
		t->ops += 4.0 * HEADS * HEAD * (pos[i] + 1);
	}
	for (uint32_t i = 0; i < n_pages; i++)
		page[i] = (int32_t)i;
	linnet_builder_start(&b, NULL, 0, N_SLOTS);
	linnet_builder_op(&b, LINNET_OP_ATTENTION);
	linnet_builder_f32(&b, 1 / sqrtf(HEAD));
	linnet_builder_f32(&b, 0);
	linnet_builder_u32(&b, 0);
	put(&b, SLOT_Y, 0, LINNET_TYPE_F32, 3, x);
	put(&b, SLOT_X, 0, LINNET_TYPE_F32, 3, x);
	put(&b, SLOT_W, 0, type, 4, kv);
	put(&b, SLOT_W, t->bytes / 2, type, 4, kv);
	put(&b, SLOT_TABLE, 0, LINNET_TYPE_I32, 1, &n_tokens);
	put(&b, SLOT_TABLE, PROMPT * sizeof(*pos), LINNET_TYPE_I32, 1, &n_tokens);
	put(&b, SLOT_TABLE, 2 * PROMPT * sizeof(*pos), LINNET_TYPE_I32, 2, pages);
	return finish(t, &b);
}

/* One row of the result; the regions are large enough for all of them. */
static int measure(struct measure *m, const struct task *t, double seconds,
		   struct linnet_kernels_row *row)
{
	struct linnet_exec x = { .k = &m->k, .team = linnet_pool_team(m->pool), .s = t->s };
	double end = now() + seconds, best = 0;
	int ret;

	x.scratch_bytes = linnet_exec_scratch(t->s, &m->k, m->n_threads);
	ret = linnet_region_host_create(&m->scratch, x.scratch_bytes ? x.scratch_bytes : 1,
					LINNET_PAGES_HUGE, NULL);
	if (ret)
		goto out;
	x.scratch = m->scratch->addr;
	x.base[SLOT_X] = m->x->addr;
	x.base[SLOT_Y] = m->y->addr;
	x.base[SLOT_W] = m->w->addr;
	x.base[SLOT_TABLE] = m->table->addr;
	for (int i = 0; i < 4 || now() < end; i++) {
		double rate = limit_rate(m, m->w->addr, t->bytes), start;

		if (rate > row->read)
			row->read = rate;
		if (m->k.limits.int8 && t->int8 && row->n_tokens == PROMPT) {
			rate = limit_rate(m, NULL, 0);
			if (rate > row->peak)
				row->peak = rate;
		}
		start = now();
		ret = linnet_exec_begin(&x);
		if (ret)
			goto out;
		linnet_pool_run(m->pool, &x);
		start = now() - start;
		ret = linnet_exec_result(&x, NULL);
		if (ret)
			goto out;
		/* the first run touches pages */
		if (i && 1 / start > best)
			best = 1 / start;
	}
	row->bytes = best * (double)t->bytes;
	row->ops = best * t->ops;
out:
	linnet_region_host_destroy(m->scratch);
	m->scratch = NULL;
	return ret;
}

/* A type's products or its attention, for each number of tokens that says something. */
static int measure_type(struct measure *m, uint32_t type, bool attends, unsigned ms,
			int (*row)(void *ctx, const struct linnet_kernels_row *r), void *ctx,
			struct linnet_error *err)
{
	static const uint32_t tokens[] = { 1, 4, PROMPT };
	const char *name = linnet_type_info(type)->name;
	int ret = 0;

	for (size_t i = 0; !ret && i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		struct linnet_kernels_row r = {
			.size = sizeof(r), .isa = m->k.isa, .type = name,
			.n_threads = m->n_threads, .n_tokens = tokens[i],
		};
		struct task t = { 0 };

		/* tokens of one sequence: there are no few of them */
		if (attends && tokens[i] == 4)
			continue;
		ret = attends ? attention(m, &t, type, tokens[i], &r) :
				product(&t, type, tokens[i], &r);
		if (!ret)
			ret = measure(m, &t, (ms ? ms : 200) / 1e3, &r);
		linnet_stream_free(t.s);
		if (ret)
			return linnet_err(err, ret, "kernels: %s of %s: cannot be measured (%s)",
					  r.op, name, strerror(-ret));
		ret = row(ctx, &r);
	}
	return ret;
}

/* Numbers of a usual size whatever the type: halves, floats and exponents are below 1. */
static void fill(struct measure *m)
{
	float *x = (float *)m->x->addr;
	uint64_t r = 1;

	for (size_t i = 0; i + 8 <= m->w->bytes; i += 8) {
		uint64_t v = r & 0x3b7f3b7f3b7f3b7f;

		memcpy(m->w->addr + i, &v, 8);
		r = r * 6364136223846793005u + 1442695040888963407u;
	}
	for (size_t i = 0; i < m->x->bytes / sizeof(*x); i++)
		x[i] = (float)((int)(i * 7919 % 2001) - 1000) / 1000;
}

static int open_level(struct measure *m, const struct linnet_kernels_options *opts,
		      struct linnet_error *err)
{
	const char *isa = opts->isa ? opts->isa : getenv("LINNET_CPU");
	int ret = linnet_kernels_init(&m->k, isa);

	if (ret)
		return linnet_err(err, ret, "kernels: %s (isa, \"%s\")", ret == -EINVAL ?
				  "no such instruction set" : "not an instruction set of this CPU",
				  isa);
	m->n_threads = opts->n_threads ? opts->n_threads : linnet_pool_cores();
	return 0;
}

static int open_measure(struct measure *m, const struct linnet_kernels_options *opts,
			struct linnet_error *err)
{
	size_t y = WEIGHT_BYTES / 1024 * sizeof(float) * 8;	/* rows of 1 KiB, 8 tokens */
	int ret = open_level(m, opts, err);

	if (ret)
		return ret;
	ret = linnet_pool_create(&m->pool, m->n_threads, NULL);
	if (ret)
		return linnet_err(err, ret, "kernels: cannot start threads (n_threads, %u)",
				  m->n_threads);
	if (y < WEIGHT_BYTES / 16 / 1024 * sizeof(float) * PROMPT)
		y = WEIGHT_BYTES / 16 / 1024 * sizeof(float) * PROMPT;
	ret = linnet_region_host_create(&m->w, WEIGHT_BYTES, LINNET_PAGES_HUGE, err);
	if (!ret)
		ret = linnet_region_host_create(&m->x, (size_t)COLS * PROMPT * sizeof(float),
						LINNET_PAGES_HUGE, err);
	if (!ret)
		ret = linnet_region_host_create(&m->y, y, LINNET_PAGES_HUGE, err);
	if (!ret)
		ret = linnet_region_host_create(&m->table, TABLE_INTS * sizeof(int32_t),
						LINNET_PAGES_SMALL, err);
	if (!ret)
		fill(m);
	return ret;
}

static void close_measure(struct measure *m)
{
	linnet_region_host_destroy(m->table);
	linnet_region_host_destroy(m->y);
	linnet_region_host_destroy(m->x);
	linnet_region_host_destroy(m->w);
	linnet_pool_destroy(m->pool);
}

int linnet_kernels_measure(const struct linnet_kernels_options *user,
			   int (*row)(void *ctx, const struct linnet_kernels_row *r), void *ctx,
			   struct linnet_error *err)
{
	static const uint32_t caches[] = {
		LINNET_TYPE_F32, LINNET_TYPE_F16, LINNET_TYPE_Q8_0, LINNET_TYPE_Q4_0
	};
	struct linnet_kernels_options opts = { 0 };
	struct measure m = { 0 };
	bool any = false;
	int ret;

	if (user)
		memcpy(&opts, user, user->size < sizeof(opts) ? user->size : sizeof(opts));
	ret = open_measure(&m, &opts, err);
	for (uint32_t type = 0; !ret && type < LINNET_TYPE_COUNT; type++) {
		const struct linnet_type_info *t = linnet_type_info(type);

		if (!t || !m.k.matmul[type] || (opts.type && strcasecmp(opts.type, t->name)))
			continue;
		any = true;
		ret = measure_type(&m, type, false, opts.ms, row, ctx, err);
	}
	for (size_t i = 0; !ret && i < sizeof(caches) / sizeof(caches[0]); i++)
		if (!opts.type || !strcasecmp(opts.type, linnet_type_info(caches[i])->name))
			ret = measure_type(&m, caches[i], true, opts.ms, row, ctx, err);
	if (!ret && !any)
		ret = linnet_err(err, -EINVAL, "kernels: no such type of weights (type, \"%s\")",
				 opts.type);
	close_measure(&m);
	return ret;
}

int linnet_machine_measure(const struct linnet_kernels_options *user,
			   struct linnet_machine_rates *rates, struct linnet_error *err)
{
	struct linnet_machine_rates full = { .size = rates->size };
	struct linnet_kernels_options opts = { 0 };
	struct measure m = { 0 };
	double end, rate;
	int ret;

	if (user)
		memcpy(&opts, user, user->size < sizeof(opts) ? user->size : sizeof(opts));
	ret = open_level(&m, &opts, err);
	if (!ret)
		ret = linnet_region_host_create(&m.w, WEIGHT_BYTES, LINNET_PAGES_HUGE, err);
	if (ret)
		return ret;
	/* pages that nobody wrote to are one and the same */
	for (size_t i = 0; i < WEIGHT_BYTES; i += 4096)
		m.w->addr[i] = 1;
	end = now() + (opts.ms ? opts.ms : 50) / 1e3;
	do {
		rate = limit_rate(&m, m.w->addr, WEIGHT_BYTES);
		full.read = rate > full.read ? rate : full.read;
		if (!m.k.limits.int8)
			continue;
		rate = limit_rate(&m, NULL, 0);
		full.int8 = rate > full.int8 ? rate : full.int8;
	} while (now() < end);
	linnet_region_host_destroy(m.w);
	memcpy(rates, &full, rates->size < sizeof(full) ? rates->size : sizeof(full));
	return full.read > 0 ? 0 : linnet_err(err, -EAGAIN, "kernels: cannot start threads "
					      "(n_threads, %u)", m.n_threads);
}
