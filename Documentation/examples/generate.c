// SPDX-License-Identifier: MIT
/*
 * Write text after a prompt, the likeliest token each time.
 *
 *	cc generate.c -o generate $(pkg-config --cflags --libs linnet)
 *	./generate MODEL "Once upon a time" [TOKENS]
 */
#include <linnet/linnet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct linnet_error *err)
{
	fprintf(stderr, "generate: %s\n", err->message);
	return 1;
}

int main(int argc, char **argv)
{
	struct linnet_sampler_options greedy = LINNET_INIT(greedy);
	struct linnet_error err = { 0 };
	struct linnet_model *model;
	struct linnet_session *session;
	struct linnet_sampler *sampler;
	struct linnet_detok *detok;
	int32_t ids[4096], id;
	const char *text;
	int64_t n;
	int len, left;

	if (argc < 3) {
		fprintf(stderr, "usage: generate MODEL PROMPT [TOKENS]\n");
		return 2;
	}
	left = argc > 3 ? atoi(argv[3]) : 100;
	if (linnet_model_open(&model, argv[1], NULL, &err))
		return fail(&err);
	n = linnet_tokenize(model, argv[2], strlen(argv[2]), LINNET_TOKENIZE_SPECIAL, ids, 4096);
	if (n < 1 || n > 4096) {
		fprintf(stderr, "generate: the prompt cannot be used (tokens, %lld)\n",
			(long long)n);
		return 1;
	}
	if (linnet_session_create(&session, model, NULL, &err) ||
	    linnet_sampler_create(&sampler, model, &greedy, &err))
		return fail(&err);
	if (linnet_detok_create(&detok, model, false, true))
		return 1;

	printf("%s", argv[2]);
	for (int64_t i = 0; i < n; i++)
		linnet_detok_push(detok, ids[i], &text);
	if (linnet_session_decode(session, ids, (size_t)n, LINNET_LOGITS_LAST, &err))
		return fail(&err);
	while (left-- > 0) {
		id = linnet_sampler_sample(sampler, linnet_session_logits(session, 0));
		if (id < 0 || linnet_token_is_end(model, id))
			break;
		len = linnet_detok_push(detok, id, &text);
		if (len > 0)
			fwrite(text, 1, (size_t)len, stdout);
		fflush(stdout);
		if (linnet_session_length(session) == linnet_session_capacity(session))
			break;
		if (linnet_session_decode(session, &id, 1, LINNET_LOGITS_LAST, &err))
			return fail(&err);
	}
	putchar('\n');

	linnet_detok_destroy(detok);
	linnet_sampler_destroy(sampler);
	linnet_session_destroy(session);
	linnet_model_close(model);
	return 0;
}
