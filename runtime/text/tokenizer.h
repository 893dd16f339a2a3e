/* SPDX-License-Identifier: MIT */
/*
 * Text to tokens and back, from the vocabulary in a GGUF file: SentencePiece BPE
 * ("llama") and byte-level BPE ("gpt2"). Independent of models and engines. The
 * vocabulary and the text are untrusted. After creation a tokenizer is read-only:
 * any number of threads may use it at once.
 */
#ifndef LINNET_TEXT_TOKENIZER_H
#define LINNET_TEXT_TOKENIZER_H

#include <linnet/linnet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/format/gguf.h"

struct linnet_tokenizer;

/*
 * Read the vocabulary. g must outlive the tokenizer: token texts stay where they
 * are. -ENOENT: the file has no vocabulary; -ENOTSUP: its kind or pre-tokenizer is
 * not supported, named in err; -EINVAL: it is damaged, field and value in err.
 */
int linnet_tokenizer_create(struct linnet_tokenizer **out, const struct linnet_gguf *g,
			    struct linnet_error *err);
/* NULL is ignored. */
void linnet_tokenizer_destroy(struct linnet_tokenizer *t);

/* Bytes allocated, without the GGUF's own. */
size_t linnet_tokenizer_memory(const struct linnet_tokenizer *t);

uint32_t linnet_tokenizer_n_vocab(const struct linnet_tokenizer *t);
/* -1: none. */
int32_t linnet_tokenizer_bos(const struct linnet_tokenizer *t);
int32_t linnet_tokenizer_eos(const struct linnet_tokenizer *t);
/* True for tokens that end a generation; false for ids out of range. */
bool linnet_tokenizer_is_end(const struct linnet_tokenizer *t, int32_t id);

/*
 * As linnet_tokenize(). A BOS (EOS) that LINNET_TOKENIZE_PARSE finds at the text's
 * very start (end) is not doubled. Bytes that are not UTF-8 are encoded each for
 * itself; what the vocabulary cannot express becomes U+FFFD where it has bytes
 * for that, else the unknown token, else the call fails with -EILSEQ.
 */
int64_t linnet_tokenizer_encode(const struct linnet_tokenizer *t, const char *text, size_t n,
				unsigned flags, int32_t *ids, size_t cap);

/* As linnet_token_text(). */
int linnet_tokenizer_text(const struct linnet_tokenizer *t, int32_t id, bool special, char *buf,
			  size_t cap);

/*
 * A detokenizer for the public linnet_detok_push(), _flush() and _destroy().
 * special: control tokens are text too. drop_lead: the stream starts at the
 * beginning of a text, so the space that the model puts before a text's first
 * word is dropped (models that put none are not touched).
 */
int linnet_tokenizer_detok(struct linnet_detok **out, const struct linnet_tokenizer *t,
			   bool special, bool drop_lead);

#endif
