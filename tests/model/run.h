/* SPDX-License-Identifier: MIT */
/*
 * A model that runs in a test: a text that is decoded again and again, whose logits are to stay
 * the same to the bit, and threads that decode it or change its budget meanwhile.
 */
#ifndef LINNET_TESTS_MODEL_RUN_H
#define LINNET_TESTS_MODEL_RUN_H

#include "tests/test.h"

#include <linnet/linnet.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct linnet_error err;

struct run {
	uint32_t n_tokens;		/* of the text, the caller's choice, */
	uint32_t n_first, n_each;	/* of its first pass, and of each that follows */
	struct linnet_model *m;
	struct linnet_session *s;
	uint32_t n_vocab;
	uint64_t least, all;		/* budgets: with less it is refused, with this all stays */
};

static inline double run_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* opened() sees the model before anything is planned; or NULL. */
static inline bool run_open(struct run *r, const char *path, const struct linnet_model_options *mo,
			    const struct linnet_session_options *so,
			    void (*opened)(struct linnet_model *m))
{
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_plan *plan = NULL;
	int ret = linnet_model_open(&r->m, path, mo, &err);

	if (!ret && opened)
		opened(r->m);
	if (!ret)
		ret = linnet_plan_create(&plan, r->m, so, &err);
	if (!ret) {
		linnet_plan_memory(plan, &mem);
		r->least = linnet_plan_least(plan);
		r->all = mem.total;
		linnet_plan_destroy(plan);
		ret = linnet_session_create(&r->s, r->m, so, &err);
	}
	if (ret)
		return test_ok(false, "%s: %s", path, err.message);
	linnet_model_info(r->m, &info);
	r->n_vocab = info.n_vocab;
	return true;
}

static inline void run_close(struct run *r)
{
	linnet_session_destroy(r->s);
	linnet_model_close(r->m);
}

/* A row for each pass. */
static inline size_t run_logits_bytes(const struct run *r)
{
	return (1 + (r->n_tokens - r->n_first) / r->n_each) * r->n_vocab * sizeof(float);
}

static inline float *run_logits(const struct run *r)
{
	float *l = calloc(1, run_logits_bytes(r));

	if (!l)
		abort();
	return l;
}

/* Decode the text from its beginning: logits of each pass's last token. */
static inline bool run_decode(struct run *r, float *logits)
{
	linnet_session_truncate(r->s, 0);
	for (uint32_t i = 0, n; i < r->n_tokens; i += n, logits += r->n_vocab) {
		int32_t ids[256];

		n = i ? r->n_each : r->n_first;
		for (uint32_t j = 0; j < n; j++)
			ids[j] = (int32_t)(((i + j) * 2654435761u >> 7) % r->n_vocab);
		if (linnet_session_decode(r->s, ids, n, LINNET_LOGITS_LAST, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		memcpy(logits, linnet_session_logits(r->s, 0), r->n_vocab * sizeof(float));
	}
	return true;
}

/* It gives these logits. */
static inline bool run_gives(struct run *r, const float *want, float *got)
{
	memset(got, 0, run_logits_bytes(r));
	return run_decode(r, got) && !memcmp(want, got, run_logits_bytes(r));
}

/* Bytes of weights that were read until now. */
static inline uint64_t run_bytes_read(const struct run *r)
{
	struct linnet_stats st = LINNET_INIT(st);

	linnet_session_stats(r->s, &st);
	return st.bytes_read;
}

/* Bytes that a text reads when all is as it was; or -1: it does not give these logits. */
static inline int64_t run_reads(struct run *r, const float *want, float *got)
{
	uint64_t before;

	if (!run_gives(r, want, got))
		return -1;
	before = run_bytes_read(r);
	return run_gives(r, want, got) ? (int64_t)(run_bytes_read(r) - before) : -1;
}

/* Another budget again and again, until told to stop; all that is wanted in the end. */
struct run_shaker {
	struct run *r;
	unsigned pause_us;		/* at most */
	unsigned most;			/* budgets: hardly a pass gets on meanwhile */
	_Atomic bool stop;
	unsigned n;
	int failed;
};

static inline void *run_shake(void *arg)
{
	struct run_shaker *s = arg;
	uint64_t x = 88172645463325252u;

	while (!s->stop && s->n < s->most) {
		uint64_t bytes;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		bytes = s->r->least + x % (s->r->all - s->r->least + (s->r->all >> 3));
		s->failed |= linnet_model_set_memory(s->r->m, x % 5 ? bytes : s->r->least, NULL);
		s->n++;
		usleep(x % s->pause_us);
	}
	s->failed |= linnet_model_set_memory(s->r->m, s->r->all, NULL);
	return NULL;
}

/* Texts in a thread of its own, while budgets come and go; how many were right, or -1. */
static inline int run_shaken(struct run *r, const float *want, float *got, double seconds,
			     unsigned pause_us, unsigned *budgets)
{
	struct run_shaker s = { .r = r, .pause_us = pause_us, .most = 3000 };
	const double until = run_now() + seconds;
	pthread_t thread;
	bool ok = true;
	int n = 0;

	if (pthread_create(&thread, NULL, run_shake, &s))
		abort();
	for (; ok && (run_now() < until || n < 2); n++)
		ok = run_gives(r, want, got);
	s.stop = true;
	pthread_join(thread, NULL);
	*budgets = s.n;
	return ok && !s.failed ? n : -1;
}

/* Texts go on in a thread of their own. */
struct run_worker {
	struct run *r;
	float *logits;
	_Atomic bool stop, failed;
	_Atomic unsigned runs;
};

static inline void *run_work(void *arg)
{
	struct run_worker *w = arg;

	while (!w->stop && !w->failed) {
		w->failed = !run_decode(w->r, w->logits);
		w->runs++;
	}
	return NULL;
}

#endif
