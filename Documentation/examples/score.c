// SPDX-License-Identifier: MIT
/*
 * How likely does a model find a text? Prints the natural logarithm of each token's
 * probability, given those before it, and their sum.
 *
 *	cc score.c -o score $(pkg-config --cflags --libs linnet) -lm
 *	./score MODEL "The cat sat on the mat."
 */
#include <linnet/linnet.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_TOKENS 512

/* log softmax(logits)[id] */
static double log_probability(const float *logits, uint32_t n_vocab, int32_t id)
{
	double max = logits[0], sum = 0;

	for (uint32_t i = 1; i < n_vocab; i++)
		max = fmax(max, logits[i]);
	for (uint32_t i = 0; i < n_vocab; i++)
		sum += exp(logits[i] - max);
	return logits[id] - max - log(sum);
}

int main(int argc, char **argv)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_error err = { 0 };
	struct linnet_model *model;
	struct linnet_session *session;
	int32_t ids[MAX_TOKENS];
	double total = 0;
	int64_t n;

	if (argc != 3) {
		fprintf(stderr, "usage: score MODEL TEXT\n");
		return 2;
	}
	if (linnet_model_open(&model, argv[1], NULL, &err))
		goto err_message;
	linnet_model_info(model, &info);
	n = linnet_tokenize(model, argv[2], strlen(argv[2]), LINNET_TOKENIZE_SPECIAL, ids,
			    MAX_TOKENS);
	if (n < 2 || n > MAX_TOKENS) {
		fprintf(stderr, "score: give a text of 2 to %d tokens\n", MAX_TOKENS);
		return 1;
	}
	opts.n_ctx = MAX_TOKENS;
	opts.n_outputs = MAX_TOKENS;	/* logits after every token of one pass */
	if (linnet_session_create(&session, model, &opts, &err) ||
	    linnet_session_decode(session, ids, (size_t)n, LINNET_LOGITS_ALL, &err))
		goto err_message;
	for (int64_t i = 1; i < n; i++) {
		double p = log_probability(linnet_session_logits(session, (size_t)i - 1),
					   info.n_vocab, ids[i]);

		printf("%6d %8.4f\n", ids[i], p);
		total += p;
	}
	printf(" total %8.4f\n", total);
	linnet_session_destroy(session);
	linnet_model_close(model);
	return 0;

err_message:
	fprintf(stderr, "score: %s\n", err.message);
	return 1;
}
