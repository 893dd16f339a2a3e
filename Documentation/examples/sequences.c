// SPDX-License-Identifier: MIT
/*
 * Four continuations of a prompt, written at once: the prompt is computed once, its keys
 * and values are shared, and each pass over the weights gives a token to all.
 *
 *	cc sequences.c -o sequences $(pkg-config --cflags --libs linnet)
 *	./sequences MODEL "Once upon a time"
 */
#include <linnet/linnet.h>

#include <stdio.h>
#include <string.h>

#define SEQUENCES 4
#define TOKENS 60

static int fail(const struct linnet_error *err)
{
	fprintf(stderr, "sequences: %s\n", err->message);
	return 1;
}

int main(int argc, char **argv)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_sampler_options samp = LINNET_INIT(samp);
	struct linnet_error err = { 0 };
	struct linnet_model *model;
	struct linnet_session *session;
	struct linnet_sampler *sampler[SEQUENCES];
	struct linnet_tokens in[SEQUENCES];
	int32_t prompt[1024], ids[SEQUENCES][TOKENS];
	char text[64];
	int64_t n;

	if (argc < 3) {
		fprintf(stderr, "usage: sequences MODEL PROMPT\n");
		return 2;
	}
	if (linnet_model_open(&model, argv[1], NULL, &err))
		return fail(&err);
	n = linnet_tokenize(model, argv[2], strlen(argv[2]), LINNET_TOKENIZE_SPECIAL, prompt, 1024);
	if (n < 1 || n > 1024)
		return 1;
	opts.n_ctx = (uint32_t)n + TOKENS;
	opts.n_seqs = opts.n_outputs = SEQUENCES;
	if (linnet_session_create(&session, model, &opts, &err) ||
	    linnet_session_decode(session, prompt, (size_t)n, LINNET_LOGITS_LAST, &err))
		return fail(&err);
	samp.temperature = 0.8f;
	for (uint32_t i = 0; i < SEQUENCES; i++) {
		samp.seed = i + 1;
		if (linnet_session_fork(session, i) ||
		    linnet_sampler_create(&sampler[i], model, &samp, &err))
			return fail(&err);
	}
	for (int at = 0; at < TOKENS; at++) {
		for (uint32_t i = 0; i < SEQUENCES; i++) {
			/* the prompt's logits are the same for all */
			ids[i][at] = linnet_sampler_sample(
				sampler[i], linnet_session_logits(session, at ? i : 0));
			in[i] = (struct linnet_tokens){ i, &ids[i][at], 1, LINNET_LOGITS_LAST };
		}
		if (linnet_session_step(session, in, SEQUENCES, &err))
			return fail(&err);
	}
	for (uint32_t i = 0; i < SEQUENCES; i++) {
		printf("%s", argv[2]);
		for (int at = 0; at < TOKENS && !linnet_token_is_end(model, ids[i][at]); at++)
			fwrite(text, 1,
			       (size_t)linnet_token_text(model, ids[i][at], false, text, 64),
			       stdout);
		printf("\n");
		linnet_sampler_destroy(sampler[i]);
	}
	linnet_session_destroy(session);
	linnet_model_close(model);
	return 0;
}
