// SPDX-License-Identifier: MIT
/*
 * Sampling: repeat penalty, top-k, top-p and min-p on the model's own probabilities,
 * then temperature and a draw, in this order. The same options, seed and logits give
 * the same tokens on every machine.
 */
#include "runtime/model/model.h"
#include "runtime/util/error.h"

#include "session.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_LAST_N 64
#define REPEAT_MAX (1u << 20)

struct candidate {
	float logit;
	int32_t id;
};

struct linnet_sampler {
	struct linnet_sampler_options opts;
	uint32_t n_vocab;
	uint64_t rng;
	struct candidate *cand;
	double *prob;
	/* the last tokens, a ring */
	int32_t *last;
	uint32_t n_last, at;
};

static int check(const struct linnet_sampler_options *o, struct linnet_error *err)
{
	if (!(o->temperature >= 0) || !isfinite(o->temperature))
		return linnet_err(err, -EINVAL,
				  "temperature must not be negative (temperature, %g)",
				  o->temperature);
	if (!(o->top_p >= 0 && o->top_p <= 1))
		return linnet_err(err, -EINVAL, "top-p must be in 0..1 (top_p, %g)", o->top_p);
	if (!(o->min_p >= 0 && o->min_p <= 1))
		return linnet_err(err, -EINVAL, "min-p must be in 0..1 (min_p, %g)", o->min_p);
	if (!(o->repeat_penalty >= 0) || !isfinite(o->repeat_penalty))
		return linnet_err(err, -EINVAL,
				  "the repeat penalty must not be negative (repeat_penalty, %g)",
				  o->repeat_penalty);
	if (o->repeat_last_n > REPEAT_MAX)
		return linnet_err(err, -EINVAL, "too many tokens (repeat_last_n, %u)",
				  o->repeat_last_n);
	return 0;
}

int linnet_sampler_create(struct linnet_sampler **out, const struct linnet_model *m,
			  const struct linnet_sampler_options *opts, struct linnet_error *err)
{
	struct linnet_sampler *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return linnet_err(err, -ENOMEM, "out of memory");
	ret = linnet_options_copy(&s->opts, sizeof(s->opts), opts);
	if (ret)
		linnet_err(err, ret, "sampler options of a newer version are set");
	if (!ret)
		ret = check(&s->opts, err);
	if (ret)
		goto err_destroy;
	if (!s->opts.repeat_last_n)
		s->opts.repeat_last_n = REPEAT_LAST_N;
	s->rng = s->opts.seed;
	s->n_vocab = m->hp.n_vocab;
	s->last = malloc(s->opts.repeat_last_n * sizeof(*s->last));
	s->cand = malloc((s->n_vocab + 1) * sizeof(*s->cand));
	s->prob = malloc((s->n_vocab + 1) * sizeof(*s->prob));
	if (!s->last || !s->cand || !s->prob) {
		ret = linnet_err(err, -ENOMEM, "out of memory");
		goto err_destroy;
	}
	*out = s;
	return 0;

err_destroy:
	linnet_sampler_destroy(s);
	return ret;
}

void linnet_sampler_destroy(struct linnet_sampler *s)
{
	if (!s)
		return;
	free(s->prob);
	free(s->cand);
	free(s->last);
	free(s);
}

void linnet_sampler_accept(struct linnet_sampler *s, int32_t id)
{
	s->last[s->at] = id;
	s->at = (s->at + 1) % s->opts.repeat_last_n;
	if (s->n_last < s->opts.repeat_last_n)
		s->n_last++;
}

/* SplitMix64 (Steele, Lea, Flood 2014); in [0, 1). */
static double draw(struct linnet_sampler *s)
{
	uint64_t z = s->rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	z ^= z >> 31;
	return (z >> 11) * 0x1p-53;
}

/* Best first; among equals the lowest id. */
static bool better(struct candidate a, struct candidate b)
{
	return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return better(*x, *y) ? -1 : better(*y, *x);
}

/* Move the k best to the front, in no order (Hoare's FIND). */
static void select_best(struct candidate *c, int64_t n, int64_t k)
{
	int64_t lo = 0, hi = n - 1;

	while (lo < hi) {
		const struct candidate pivot = c[lo + (hi - lo) / 2];
		int64_t i = lo, j = hi;

		while (i <= j) {
			while (better(c[i], pivot))
				i++;
			while (better(pivot, c[j]))
				j--;
			if (i <= j) {
				struct candidate t = c[i];

				c[i++] = c[j];
				c[j--] = t;
			}
		}
		if (k - 1 <= j)
			hi = j;
		else if (k - 1 >= i)
			lo = i;
		else
			return;
	}
}

static void penalize(struct linnet_sampler *s)
{
	const float penalty = s->opts.repeat_penalty;

	if (penalty == 0 || penalty == 1)
		return;
	for (uint32_t i = 0; i < s->n_last; i++) {
		int32_t id = s->last[i];
		bool seen = id < 0 || (uint32_t)id >= s->n_vocab;

		for (uint32_t j = 0; j < i && !seen; j++)
			seen = s->last[j] == id;
		if (!seen)
			s->cand[id].logit *= s->cand[id].logit > 0 ? 1 / penalty : penalty;
	}
}

/* Probabilities of the first n candidates at a temperature; returns their sum, 1. */
static void softmax(struct linnet_sampler *s, size_t n, double temperature)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		s->prob[i] = exp((s->cand[i].logit - (double)s->cand[0].logit) / temperature);
		sum += s->prob[i];
	}
	for (size_t i = 0; i < n; i++)
		s->prob[i] /= sum;
}

/* The largest of n numbers; -INFINITY: there is none. */
static float largest(const float *x, size_t n)
{
	enum { LANES = 16 };
	float lane[LANES], max = -INFINITY;
	size_t i;

	/* in lanes: one comparison need not wait for the one before; compilers make vectors */
	for (int k = 0; k < LANES; k++)
		lane[k] = -INFINITY;
	for (i = 0; i + LANES <= n; i += LANES)
		for (int k = 0; k < LANES; k++)
			lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
	for (; i < n; i++)
		max = x[i] > max ? x[i] : max;
	for (int k = 0; k < LANES; k++)
		max = lane[k] > max ? lane[k] : max;
	return max;
}

/* The lowest id of the best logits, or -EINVAL: there is none. */
static int32_t best_of(const float *logits, size_t n)
{
	enum { BLOCK = 1024 };
	float max = -INFINITY;
	size_t at = 0;

	/* in blocks: where it is need be looked for in one of them */
	for (size_t i = 0; i < n; i += BLOCK) {
		const float x = largest(logits + i, n - i < BLOCK ? n - i : BLOCK);

		if (x > max) {
			max = x;
			at = i;
		}
	}
	if (max == -INFINITY)
		return -EINVAL;
	while (logits[at] != max)
		at++;
	return (int32_t)at;
}

int32_t linnet_sampler_sample(struct linnet_sampler *s, const float *logits)
{
	const struct linnet_sampler_options *o = &s->opts;
	size_t n = s->n_vocab, best = 0, i;
	bool any = false;
	double at, sum;

	if (o->temperature == 0 && (o->repeat_penalty == 0 || o->repeat_penalty == 1)) {
		const int32_t id = best_of(logits, s->n_vocab);

		if (id >= 0)
			linnet_sampler_accept(s, id);
		return id;
	}
	for (i = 0; i < n; i++) {
		bool bad = isnan(logits[i]);

		s->cand[i] = (struct candidate){ bad ? -INFINITY : logits[i], i };
		any |= !bad && logits[i] != -INFINITY;
	}
	if (!any)
		return -EINVAL;
	penalize(s);
	if (o->temperature == 0) {
		for (i = 1; i < n; i++)
			if (better(s->cand[i], s->cand[best]))
				best = i;
		linnet_sampler_accept(s, s->cand[best].id);
		return s->cand[best].id;
	}

	if (o->top_k && o->top_k < n) {
		select_best(s->cand, n, o->top_k);
		n = o->top_k;
	}
	qsort(s->cand, n, sizeof(*s->cand), compare);
	if (o->top_p > 0 && o->top_p < 1) {
		softmax(s, n, 1);
		for (i = 0, sum = 0; i < n && sum < o->top_p; i++)
			sum += s->prob[i];
		n = i;
	}
	if (o->min_p > 0) {
		softmax(s, n, 1);
		for (i = 1; i < n && s->prob[i] >= o->min_p * s->prob[0]; i++)
			;
		n = i;
	}
	softmax(s, n, o->temperature);
	at = draw(s);
	for (i = 0, sum = 0; i + 1 < n; i++) {
		sum += s->prob[i];
		if (at < sum)
			break;
	}
	linnet_sampler_accept(s, s->cand[i].id);
	return s->cand[i].id;
}
