// SPDX-License-Identifier: MIT
/*
 * Sampling is as probable as the model says, with drafts and without: pairs of tokens after
 * a prompt, over many seeds, against their exact probabilities (chi-square). Drafts are
 * checked as linnet.h says, by sampling row after row. At temperature 0 it is the lowest id
 * of the best logits, whatever they are.
 */
#include <linnet/linnet.h>

#include "tests/test.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MODEL	"tools/demo/linnet-demo.gguf"
#define PROMPT	"Once upon a time, there was a little"
#define K	6		/* tokens that may be chosen */
#define SEEDS	1500
#define TEMP	1.5f

static struct linnet_error err;
static struct linnet_model *m;
static struct linnet_session *s;
static uint32_t n_vocab;
static int32_t prompt[64];
static int n_prompt;

/* The likeliest K tokens and their probabilities among them. */
static void choices(const float *logits, int32_t *id, double *p)
{
	double sum = 0;

	for (int k = 0; k < K; k++) {
		id[k] = -1;
		for (uint32_t i = 0; i < n_vocab; i++) {
			bool taken = false;

			for (int j = 0; j < k; j++)
				taken |= id[j] == (int32_t)i;
			if (!taken && (id[k] < 0 || logits[i] > logits[id[k]]))
				id[k] = (int32_t)i;
		}
		p[k] = exp((double)(logits[id[k]] - logits[id[0]]) / TEMP);
		sum += p[k];
	}
	for (int k = 0; k < K; k++)
		p[k] /= sum;
}

static void decode(const int32_t *ids, size_t n, enum linnet_logits rows)
{
	if (!linnet_session_decode(s, ids, n, rows, &err))
		return;
	test_ok(false, "%s", err.message);
	exit(test_end());
}

/* A pair of tokens; whether the first draft token was right. */
static bool pair(uint64_t seed, const int32_t *draft, int32_t *a, int32_t *b)
{
	struct linnet_sampler_options opts = {
		.size = sizeof(opts), .temperature = TEMP, .top_k = K, .seed = seed,
	};
	const int32_t last = prompt[n_prompt - 1];
	struct linnet_sampler *sampler;
	bool right = false;

	if (linnet_sampler_create(&sampler, m, &opts, &err))
		abort();
	linnet_session_truncate(s, (uint32_t)n_prompt - 1);
	if (draft) {
		decode((int32_t[]) { last, draft[0], draft[1] }, 3, LINNET_LOGITS_ALL);
		*a = linnet_sampler_sample(sampler, linnet_session_logits(s, 0));
		right = *a == draft[0];
	} else {
		decode(&last, 1, LINNET_LOGITS_LAST);
		*a = linnet_sampler_sample(sampler, linnet_session_logits(s, 0));
	}
	if (right) {
		*b = linnet_sampler_sample(sampler, linnet_session_logits(s, 1));
	} else {
		linnet_session_truncate(s, (uint32_t)n_prompt);
		decode(a, 1, LINNET_LOGITS_LAST);
		*b = linnet_sampler_sample(sampler, linnet_session_logits(s, 0));
	}
	linnet_sampler_destroy(sampler);
	return right;
}

static int find(const int32_t *id, int32_t what)
{
	for (int k = 0; k < K; k++)
		if (id[k] == what)
			return k;
	return -1;
}

/* Logits of few values, so that many are equal, and some are none; the best moves about. */
static void greedy(void)
{
	struct linnet_sampler_options opts = LINNET_INIT(opts);
	float *logits = malloc(n_vocab * sizeof(*logits));
	struct linnet_sampler *sampler;
	unsigned n_wrong = 0;
	uint32_t rng = 1;

	if (linnet_sampler_create(&sampler, m, &opts, &err) || !logits) {
		test_ok(false, "%s", err.message);
		free(logits);
		return;
	}
	for (uint32_t round = 0; round < 2 * n_vocab; round++) {
		int32_t want = -EINVAL;

		for (uint32_t i = 0; i < n_vocab; i++) {
			rng = rng * 1664525 + 1013904223;
			logits[i] = rng >> 30 == 0 ? NAN : rng >> 30 == 1 ? -INFINITY :
				    -(float)(rng >> 16 & 7);
		}
		/* every place has its turn, alone or with equals after it */
		if (round)
			logits[round % n_vocab] = round & 1 ? 0 : INFINITY;
		else
			for (uint32_t i = 0; i < n_vocab; i++)
				logits[i] = i & 1 ? NAN : -INFINITY;
		for (uint32_t i = 0; i < n_vocab; i++)
			if (logits[i] > (want < 0 ? -INFINITY : logits[want]))
				want = (int32_t)i;
		n_wrong += linnet_sampler_sample(sampler, logits) != want;
	}
	test_ok(!n_wrong, "temperature 0: the lowest of the best (%u wrong)", n_wrong);
	linnet_sampler_destroy(sampler);
	free(logits);
}

int main(void)
{
	struct linnet_model_options mo = { .size = sizeof(mo), .n_threads = 1 };
	struct linnet_session_options so = { .size = sizeof(so), .n_ctx = 64, .n_outputs = 3 };
	struct linnet_model_info info = LINNET_INIT(info);
	int32_t first[K], second[K][K];
	double p1[K], p2[K][K];

	if (linnet_model_open(&m, MODEL, &mo, &err) || linnet_session_create(&s, m, &so, &err)) {
		test_ok(false, "%s", err.message);
		return test_end();
	}
	linnet_model_info(m, &info);
	n_vocab = info.n_vocab;
	greedy();
	n_prompt = (int)linnet_tokenize(m, PROMPT, strlen(PROMPT), LINNET_TOKENIZE_SPECIAL, prompt,
					60);
	decode(prompt, (size_t)n_prompt, LINNET_LOGITS_LAST);
	choices(linnet_session_logits(s, 0), first, p1);
	for (int k = 0; k < K; k++) {
		linnet_session_truncate(s, (uint32_t)n_prompt);
		decode(&first[k], 1, LINNET_LOGITS_LAST);
		choices(linnet_session_logits(s, 0), second[k], p2[k]);
	}
	for (int way = 0; way < 3; way++) {
		/* none; the likeliest tokens; unlikely ones */
		const int32_t drafts[][2] = { { first[0], second[0][0] },
					      { first[2], second[2][3] } };
		unsigned seen[K][K] = { 0 }, n_right = 0, n_wrong = 0, n_cells = 0;
		double chi = 0;

		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			int32_t a, b;
			int i, j;

			n_right += pair(1 + seed + (uint64_t)way * SEEDS,
					way ? drafts[way - 1] : NULL, &a, &b);
			i = find(first, a);
			j = i < 0 ? -1 : find(second[i], b);
			if (j < 0)
				n_wrong++;
			else
				seen[i][j]++;
		}
		for (int i = 0; i < K; i++) {
			for (int j = 0; j < K; j++) {
				const double want = SEEDS * p1[i] * p2[i][j];

				/* rare pairs say nothing by themselves */
				if (want < 5)
					continue;
				chi += (seen[i][j] - want) * (seen[i][j] - want) / want;
				n_cells++;
			}
		}
		/* five standard deviations of chi-square */
		test_ok(!n_wrong && n_cells > 8 && chi < n_cells + 5 * sqrt(2.0 * n_cells) &&
			(!way || (n_right > SEEDS / 50 && n_right < SEEDS * 49 / 50)),
			"%s: chi-square of %u kinds of pairs is %.1f (%u drafts of %d were right)",
			way == 2 ? "unlikely drafts" : way ? "likely drafts" : "no drafts",
			n_cells, chi, n_right, SEEDS);
	}
	linnet_session_destroy(s);
	linnet_model_close(m);
	return test_end();
}
