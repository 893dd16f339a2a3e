// SPDX-License-Identifier: MIT
/*
 * The tokens of a text, one on each line: id and text. Opens the vocabulary alone,
 * which takes no weights into memory.
 *
 *	cc tokens.c -o tokens $(pkg-config --cflags --libs linnet)
 *	./tokens MODEL "Hello world"
 */
#include <linnet/linnet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct linnet_model_options opts = LINNET_INIT(opts);
	struct linnet_error err = { 0 };
	struct linnet_model *model;
	int32_t *ids;
	int64_t n;

	if (argc != 3) {
		fprintf(stderr, "usage: tokens MODEL TEXT\n");
		return 2;
	}
	opts.vocab_only = true;
	if (linnet_model_open(&model, argv[1], &opts, &err)) {
		fprintf(stderr, "tokens: %s\n", err.message);
		return 1;
	}
	/* The first call counts, the second one fills. */
	n = linnet_tokenize(model, argv[2], strlen(argv[2]), 0, NULL, 0);
	ids = n > 0 ? malloc((size_t)n * sizeof(*ids)) : NULL;
	if (n < 0 || (n > 0 && !ids)) {
		fprintf(stderr, "tokens: cannot tokenize the text\n");
		return 1;
	}
	linnet_tokenize(model, argv[2], strlen(argv[2]), 0, ids, (size_t)n);
	for (int64_t i = 0; i < n; i++) {
		char text[256];
		int len = linnet_token_text(model, ids[i], true, text, sizeof(text));

		if (len > (int)sizeof(text))
			len = sizeof(text);
		printf("%6d \"%.*s\"\n", ids[i], len > 0 ? len : 0, text);
	}
	free(ids);
	linnet_model_close(model);
	return 0;
}
