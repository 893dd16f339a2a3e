/* SPDX-License-Identifier: MIT */
/*
 * Inside runtime/text: cutting text into the words that byte-level BPE merges
 * within. The expressions are the ones that the tokenizers were trained with.
 */
#ifndef LINNET_TEXT_PRETOKENIZE_H
#define LINNET_TEXT_PRETOKENIZE_H

#include <linnet/linnet.h>
#include <stdbool.h>
#include <stddef.h>

struct pretokenizer;

/* What a name of tokenizer.ggml.pre says beside the expressions. */
struct pretokenizer_traits {
	bool ignore_merges;
	bool add_bos;
};

/* NULL traits: not wanted. -ENOTSUP when the name is not known; err is not set then. */
int pretokenizer_create(struct pretokenizer **out, const char *name,
			struct pretokenizer_traits *traits);
void pretokenizer_destroy(struct pretokenizer *p);
/* Name number i that is supported, NULL past the end. */
const char *pretokenizer_name(size_t i);

/*
 * Call word() for every word, in order; together they are the whole text. Stops
 * at its first non-zero return and returns it; otherwise 0 or -errno.
 */
int pretokenizer_split(const struct pretokenizer *p, const char *text, size_t n,
		       int (*word)(void *ctx, const char *text, size_t n), void *ctx);

#endif
